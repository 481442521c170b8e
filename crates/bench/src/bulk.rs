//! Many events in one body, on one connection.

use crate::sample::line;
use crate::server::Running;
use anyhow::{Result, bail};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Lines that are made and sent at once.
const CHUNK: u64 = 10_000;

/// Lines of JSON, made before the clock starts so that making them isn't measured.
pub(crate) fn body(first: u64, count: u64) -> Vec<String> {
    let chunks = (0..count.div_ceil(CHUNK)).map(|n| (first + n * CHUNK, CHUNK.min(count - n * CHUNK)));
    chunks.map(|(first, count)| (first..first + count).map(line).collect()).collect()
}

/// Sends lines in one request; events a second from the first byte to the last of the answer.
pub(crate) async fn send(server: &Running, lines: &[String], count: u64) -> Result<f64> {
    let length: usize = lines.iter().map(String::len).sum();
    let head = format!(
        "POST /api/v1/events/ HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n",
        server.token
    );
    let mut stream = TcpStream::connect(server.address).await?;
    let started = Instant::now();
    stream.write_all(head.as_bytes()).await?;
    for chunk in lines {
        stream.write_all(chunk.as_bytes()).await?;
    }
    let mut buffer = vec![0; 256 << 10];
    let (mut first, mut stored) = (true, 0_u64);
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            break;
        }
        if first && !buffer.starts_with(b"HTTP/1.1 201") {
            bail!("bulk was answered with: {}", String::from_utf8_lossy(&buffer[..read.min(500)]));
        }
        first = false;
        stored += buffer[..read].iter().filter(|byte| **byte == b'{').count() as u64;
    }
    let taken = started.elapsed().as_secs_f64();
    if stored != count {
        bail!("{stored} of {count} events were answered");
    }
    Ok(count as f64 / taken)
}
