//! Requests by hand, so that the client costs little and nothing is hidden.

use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Answers to single requests are far shorter.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// A connection that is kept.
pub(crate) struct Connection {
    pub(crate) stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self> {
        Self::over(TcpStream::connect(address).await?)
    }

    /// A connection that is open already.
    pub(crate) fn over(stream: TcpStream) -> Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 << 10) })
    }

    /// Sends a request that is ready and reads its answer whole; the status.
    pub(crate) async fn send(&mut self, request: &[u8]) -> Result<u16> {
        self.stream.write_all(request).await?;
        Ok(self.answer().await?.0)
    }

    /// Gets a path; the body.
    pub(crate) async fn get(&mut self, path: &str, token: &str) -> Result<String> {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await?;
        let (status, body) = self.answer().await?;
        let body = String::from_utf8_lossy(&self.buffer[body]).into_owned();
        if status != 200 {
            bail!("{path} was answered with {status}: {body}");
        }
        Ok(body)
    }

    /// Reads one answer whole: its status, and where in the buffer its body is.
    async fn answer(&mut self) -> Result<(u16, std::ops::Range<usize>)> {
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the server closed the connection");
            }
            let mut headers = [httparse::EMPTY_HEADER; 32];
            let mut answer = httparse::Response::new(&mut headers);
            if let httparse::Status::Complete(head) = answer.parse(&self.buffer)? {
                let length = answer.headers.iter().find(|h| h.name.eq_ignore_ascii_case("content-length"));
                let status = answer.code.context("an answer without a status")?;
                let length: usize = match length {
                    None if status == 204 => 0,
                    length => {
                        std::str::from_utf8(length.context("an answer without a length")?.value)?.parse()?
                    }
                };
                if self.buffer.len() >= head + length {
                    return Ok((status, head..head + length));
                }
            }
            if self.buffer.len() > MAX_ANSWER_BYTES {
                bail!("an answer that doesn't end");
            }
        }
    }
}
