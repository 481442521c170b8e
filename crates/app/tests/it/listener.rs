//! A reader of the live stream that can be cut anywhere, as connections are.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long something may take to come on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a stream said.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) name: String,
    pub(crate) id: String,
    pub(crate) data: Value,
}

impl Message {
    /// What it is about, the same however often it is said: an event, an alert, or a version of one.
    pub(crate) fn about(&self) -> String {
        match self.name.as_str() {
            "change" => {
                let (alert, change) = (&self.data["alert"], &self.data["change"]);
                format!("change {} {}", alert["id"], change["version"])
            }
            name => format!("{name} {}", self.data["id"]),
        }
    }

    /// Whether it tells of something that happened, rather than of how many there are.
    pub(crate) fn is_thing(&self) -> bool {
        matches!(self.name.as_str(), "alert" | "change" | "event")
    }
}

pub(crate) struct Listener {
    socket: BufReader<TcpStream>,
    pub(crate) head: String,
    /// Bytes of the chunk that is being read.
    chunk: usize,
    /// Bytes until the connection is cut.
    left: usize,
    /// Whether it is cut as well when nothing comes for a moment.
    restless: bool,
    /// The id that was said last: what a browser would come back with.
    pub(crate) last: String,
    /// Whether the server said that this is all.
    pub(crate) ended: bool,
}

impl Listener {
    /// Asks for a stream at an address such as `http://127.0.0.1:8000`.
    pub(crate) fn open(address: &str, path: &str, headers: &[(String, String)], last: &str) -> Self {
        let socket = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n");
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !last.is_empty() {
            request.push_str(&format!("Last-Event-ID: {last}\r\n"));
        }
        let mut socket = BufReader::new(socket);
        socket.get_mut().write_all(format!("{request}\r\n").as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(socket.read_line(&mut head).unwrap() > 0, "the head of the answer is cut: {head}");
        }
        let last = last.to_owned();
        Self { socket, head, chunk: 0, left: usize::MAX, restless: false, last, ended: false }
    }

    /// Cuts the connection after so many bytes more, or when nothing comes for a moment.
    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.socket.get_ref().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        (self.left, self.restless) = (bytes, true);
        self
    }

    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The next line without its end; nothing when the connection is over.
    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return Some(String::from_utf8(line).unwrap()),
                byte => line.push(byte),
            }
        }
    }

    fn byte(&mut self) -> Option<u8> {
        if self.ended || self.left == 0 {
            return None;
        }
        while self.chunk == 0 {
            let mut size = String::new();
            if self.read(|socket| socket.read_line(&mut size))? == 0 {
                return None;
            }
            // Chunks are followed by an empty line.
            if size.trim().is_empty() {
                continue;
            }
            self.chunk = usize::from_str_radix(size.trim(), 16).unwrap();
            if self.chunk == 0 {
                self.ended = true;
                return None;
            }
        }
        let mut byte = [0];
        self.read(|socket| socket.read_exact(&mut byte))?;
        self.chunk -= 1;
        self.left -= 1;
        Some(byte[0])
    }

    fn read<T>(&mut self, read: impl FnOnce(&mut BufReader<TcpStream>) -> std::io::Result<T>) -> Option<T> {
        match read(&mut self.socket) {
            Ok(read) => Some(read),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && !self.restless => {
                panic!("nothing comes")
            }
            Err(_) => {
                self.left = 0;
                None
            }
        }
    }

    /// The next lines up to an empty one, of which the id counts also when nothing else is said.
    pub(crate) fn block(&mut self) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        // Only what is complete counts.
        if let Some(id) = lines.iter().find_map(|line| line.strip_prefix("id: ")) {
            self.last = id.to_owned();
        }
        Some(lines)
    }

    /// The next message; nothing when the connection is over.
    pub(crate) fn next(&mut self) -> Option<Message> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "nothing comes but that there is nothing new");
            let lines = self.block()?;
            let value =
                |field: &str| lines.iter().find_map(|line| line.strip_prefix(field)).map(str::to_owned);
            if let Some(data) = value("data: ") {
                let data = serde_json::from_str(&data).unwrap_or_else(|_| panic!("not JSON: {data}"));
                let id = value("id: ").expect("each message has an id");
                return Some(Message { name: value("event: ").unwrap(), id, data });
            }
        }
    }

    /// The next message of a name, others passed over.
    #[track_caller]
    pub(crate) fn expect(&mut self, name: &str) -> Message {
        loop {
            let message = self.next().unwrap_or_else(|| panic!("the stream ended before {name} came"));
            if message.name == name {
                return message;
            }
        }
    }

    /// Reads until the stream ends.
    pub(crate) fn rest(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.next()).collect()
    }
}
