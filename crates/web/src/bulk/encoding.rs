//! Reads a body as it comes, unpacked if it is packed. Nothing is unpacked further than the next step needs, so a
//! small body that would unpack to a huge one takes no more memory than any other.

use crate::error::ApiError;
use crate::extract::{body_error, drain};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, header};
use bytes::Buf;
use flate2::write::MultiGzDecoder;
use http_body_util::BodyExt;
use std::io::Write;
use zstd::stream::raw::{DParameter, Decoder as Zstd, InBuffer, Operation, OutBuffer};

/// Bytes that are unpacked at once. Deflate makes a thousand of one at most.
const GZIP_STEP: usize = 1 << 10;
/// Room for what zstd unpacks at once.
const ZSTD_STEP: usize = 128 << 10;
/// The largest window of zstd, as a power of two: 8 MiB, which every level but the highest keeps to.
const ZSTD_WINDOW: u32 = 23;
/// Logs pack to a fiftieth or so; what unpacks to more than this, beyond the first bytes, was made to hurt.
const MAX_RATIO: u64 = 250;
const UNSUSPICIOUS: u64 = 16 << 20;

enum Unpack {
    Nothing,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    /// Whether a frame has ended, and whether more of what was read is still inside.
    Zstd {
        decoder: Zstd<'static>,
        complete: bool,
        inside: bool,
    },
}

/// A body that is read piece by piece.
pub(crate) struct Reader {
    body: Body,
    unpack: Unpack,
    /// What came and isn't unpacked yet.
    packed: Bytes,
    came: u64,
    unpacked: u64,
    ended: bool,
}

fn broken(error: &dyn std::fmt::Display) -> ApiError {
    ApiError::Malformed(format!("The body can't be unpacked: {error}"))
}

impl Reader {
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Result<Self, ApiError> {
        let named =
            headers.get(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or_default().trim());
        let unpack = match named.map(str::to_ascii_lowercase).as_deref() {
            None | Some("" | "identity") => Unpack::Nothing,
            Some("gzip" | "x-gzip") => Unpack::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            Some("zstd") => {
                let mut decoder = Zstd::new().map_err(|_| ApiError::Internal)?;
                decoder
                    .set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW))
                    .map_err(|_| ApiError::Internal)?;
                Unpack::Zstd { decoder, complete: true, inside: false }
            }
            Some(other) => return Err(ApiError::WrongEncoding(other.chars().take(100).collect())),
        };
        Ok(Self { body, unpack, packed: Bytes::new(), came: 0, unpacked: 0, ended: false })
    }

    /// Whether the body is packed, so that its length says nothing.
    pub(crate) fn is_packed(&self) -> bool {
        !matches!(self.unpack, Unpack::Nothing)
    }

    /// The next bytes; nothing at the end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            let inside = matches!(self.unpack, Unpack::Zstd { inside: true, .. });
            if self.packed.is_empty() && !self.ended && !inside {
                match self.body.frame().await {
                    Some(Ok(frame)) => self.packed = frame.into_data().unwrap_or_default(),
                    Some(Err(error)) => return Err(body_error(&error)),
                    None => self.ended = true,
                }
                self.came += self.packed.len() as u64;
            }
            let bytes = self.step()?;
            self.unpacked += bytes.len() as u64;
            if self.unpacked > UNSUSPICIOUS && self.is_packed() && self.unpacked / MAX_RATIO > self.came {
                return Err(ApiError::Bomb);
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            if self.ended && self.packed.is_empty() {
                return Ok(None);
            }
        }
    }

    /// Unpacks some of what came.
    fn step(&mut self) -> Result<Bytes, ApiError> {
        match &mut self.unpack {
            Unpack::Nothing => Ok(std::mem::take(&mut self.packed)),
            Unpack::Gzip(decoder) => {
                let some = self.packed.split_to(self.packed.len().min(GZIP_STEP));
                decoder.write_all(&some).map_err(|error| broken(&error))?;
                if self.ended && self.packed.is_empty() && self.came > 0 {
                    decoder.try_finish().map_err(|error| broken(&error))?;
                }
                Ok(std::mem::take(decoder.get_mut()).into())
            }
            Unpack::Zstd { decoder, complete, inside } => {
                if self.ended && self.packed.is_empty() && !*inside {
                    return if *complete { Ok(Bytes::new()) } else { Err(broken(&"it ends early")) };
                }
                let mut room = vec![0; ZSTD_STEP];
                let (mut input, mut output) =
                    (InBuffer::around(&self.packed), OutBuffer::around(&mut room[..]));
                let left = decoder.run(&mut input, &mut output).map_err(|error| broken(&error))?;
                let (read, written) = (input.pos(), output.pos());
                (*complete, *inside) = (left == 0, written == ZSTD_STEP);
                self.packed.advance(read);
                room.truncate(written);
                Ok(room.into())
            }
        }
    }

    /// Says that the body is too large, after reading on for a while: a client that is still sending would miss it.
    pub(crate) async fn too_large(&mut self, limit: usize) -> ApiError {
        drain(&mut self.body).await;
        ApiError::TooLarge(limit)
    }

    /// The whole body, if it isn't longer than this.
    pub(crate) async fn all(&mut self, begun: Bytes, limit: usize) -> Result<Bytes, ApiError> {
        let mut all = bytes::BytesMut::from(begun.as_ref());
        loop {
            if all.len() > limit {
                return Err(self.too_large(limit).await);
            }
            match self.next().await? {
                Some(more) => all.extend_from_slice(&more),
                None => return Ok(all.freeze()),
            }
        }
    }
}
