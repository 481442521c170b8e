//! Cuts a body of many events into one text for each, as it arrives: lines, or the elements of a JSON array. What
//! the texts hold isn't looked at here.

use bytes::{Buf, BytesMut};

/// How many events lie in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One JSON value on each line.
    Lines,
    /// The elements of a JSON array.
    Array,
}

/// What was cut out of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The text of one event.
    Text(BytesMut),
    /// One that is too long; it was passed over.
    TooLong,
    /// The body isn't an array from here on; nothing more can be read.
    Broken(&'static str),
}

/// Where in an array the next byte lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    BeforeArray,
    /// Behind `[` or a comma; the flag says whether the array may end here.
    BeforeItem(bool),
    InItem,
    AfterArray,
    Broken,
}

/// Cuts a body; bytes go in as they come, items come out as they are complete.
pub struct Splitter {
    shape: Shape,
    max_item: usize,
    buffer: BytesMut,
    /// How far the buffer was looked at.
    seen: usize,
    place: Place,
    depth: usize,
    in_text: bool,
    escaped: bool,
    /// The item at the beginning of the buffer is too long: its bytes are dropped.
    skipping: bool,
}

impl Splitter {
    /// Items longer than so many bytes are passed over.
    pub fn new(shape: Shape, max_item: usize) -> Self {
        Self {
            shape,
            max_item,
            buffer: BytesMut::new(),
            seen: 0,
            place: Place::BeforeArray,
            depth: 0,
            in_text: false,
            escaped: false,
            skipping: false,
        }
    }

    /// Takes more of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next item that is complete, if there is one.
    pub fn next_item(&mut self) -> Option<Item> {
        match self.shape {
            Shape::Lines => self.next_line(false),
            Shape::Array => self.next_element(),
        }
    }

    /// The last item, when no more of the body comes.
    pub fn finish(&mut self) -> Option<Item> {
        match self.shape {
            Shape::Lines => self.next_line(true),
            Shape::Array => match self.next_element() {
                None if self.place == Place::AfterArray => None,
                None if self.place == Place::Broken => None,
                None => self.broken("The array has no end."),
                item => item,
            },
        }
    }

    fn next_line(&mut self, ended: bool) -> Option<Item> {
        loop {
            let end = memchr::memchr(b'\n', &self.buffer[self.seen..]).map(|at| self.seen + at);
            let Some(end) = end.or((ended && !self.buffer.is_empty()).then_some(self.buffer.len())) else {
                self.seen = self.buffer.len();
                self.drop_if_too_long();
                return (ended && std::mem::take(&mut self.skipping)).then_some(Item::TooLong);
            };
            let mut line = self.buffer.split_to(end);
            if !self.buffer.is_empty() {
                self.buffer.advance(1);
            }
            self.seen = 0;
            if std::mem::take(&mut self.skipping) || line.len() > self.max_item {
                return Some(Item::TooLong);
            }
            if line.last() == Some(&b'\r') {
                line.truncate(line.len() - 1);
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(Item::Text(line));
            }
        }
    }

    fn drop_if_too_long(&mut self) {
        if self.skipping || self.buffer.len() > self.max_item {
            self.skipping = true;
            self.buffer.clear();
            self.seen = 0;
        }
    }

    fn broken(&mut self, reason: &'static str) -> Option<Item> {
        self.place = Place::Broken;
        self.buffer.clear();
        Some(Item::Broken(reason))
    }

    fn next_element(&mut self) -> Option<Item> {
        loop {
            if self.place == Place::InItem {
                let Some(end) = self.end_of_element() else {
                    self.drop_if_too_long();
                    return None;
                };
                return Some(self.element(end));
            }
            let blanks = self.buffer.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.buffer.advance(blanks);
            let first = *self.buffer.first()?;
            match (self.place, first) {
                (Place::BeforeArray, b'[') => {
                    self.buffer.advance(1);
                    self.place = Place::BeforeItem(true);
                }
                (Place::BeforeItem(true), b']') => {
                    self.buffer.advance(1);
                    self.place = Place::AfterArray;
                }
                (Place::BeforeItem(_), byte) if byte != b',' && byte != b']' => {
                    self.place = Place::InItem;
                    (self.seen, self.depth, self.in_text, self.escaped) = (0, 0, false, false);
                }
                (Place::Broken, _) => {
                    self.buffer.clear();
                    return None;
                }
                (Place::BeforeArray, _) => return self.broken("An array is expected."),
                (Place::AfterArray, _) => return self.broken("Something follows the array."),
                _ => return self.broken("A value is expected between the commas of the array."),
            }
        }
    }

    /// Where the element at the beginning of the buffer ends: at a comma or bracket outside of everything.
    fn end_of_element(&mut self) -> Option<usize> {
        for at in self.seen..self.buffer.len() {
            let byte = self.buffer[at];
            if self.in_text {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_text = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_text = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => self.depth -= 1,
                b']' | b',' if self.depth == 0 => return Some(at),
                _ => {}
            }
        }
        self.seen = self.buffer.len();
        None
    }

    fn element(&mut self, end: usize) -> Item {
        let element = self.buffer.split_to(end);
        self.place = if self.buffer[0] == b',' { Place::BeforeItem(false) } else { Place::AfterArray };
        self.buffer.advance(1);
        self.seen = 0;
        match std::mem::take(&mut self.skipping) || element.len() > self.max_item {
            true => Item::TooLong,
            false => Item::Text(element),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(text: &str) -> Item {
        Item::Text(BytesMut::from(text))
    }

    /// Cuts a body that comes in pieces of a size.
    fn cut(shape: Shape, body: &[u8], size: usize) -> Vec<Item> {
        let mut splitter = Splitter::new(shape, 20);
        let mut items = Vec::new();
        for piece in body.chunks(size) {
            splitter.push(piece);
            while let Some(item) = splitter.next_item() {
                items.push(item);
            }
        }
        while let Some(item) = splitter.finish() {
            items.push(item);
        }
        items
    }

    #[test]
    fn lines_are_cut_however_they_arrive() {
        let body = b"{\"a\":1}\r\n\n  \n{\"b\":2}\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n3";
        for size in 1..body.len() {
            let items = cut(Shape::Lines, body, size);
            assert_eq!(items, [text("{\"a\":1}"), text("{\"b\":2}"), Item::TooLong, text("3")], "{size}");
        }
        assert_eq!(cut(Shape::Lines, &[b'x'; 50], 7), [Item::TooLong], "a long last line");
        assert_eq!(cut(Shape::Lines, b"\n\n", 1), []);
    }

    #[test]
    fn elements_are_cut_however_they_arrive() {
        let body = br#" [ {"a":"],\"{"} ,[1,[2]], "x,]" ,7,{"long":"xxxxxxxxxxxxxxxxxxxxxx"},null] "#;
        for size in 1..body.len() {
            let items = cut(Shape::Array, body, size);
            let wanted = [
                text(r#"{"a":"],\"{"} "#),
                text("[1,[2]]"),
                text("\"x,]\" "),
                text("7"),
                Item::TooLong,
                text("null"),
            ];
            assert_eq!(items, wanted, "{size}");
        }
        assert_eq!(cut(Shape::Array, b"[]", 1), []);
    }

    #[test]
    fn what_is_no_array_is_said_to_be_broken_once() {
        for body in ["", "{}", "[1", "[1,]", "[,1]", "[1] 2", "[\"x]", "[{]"] {
            let items = cut(Shape::Array, body.as_bytes(), 1);
            let broken = items.iter().filter(|item| matches!(item, Item::Broken(_))).count();
            assert_eq!(broken, 1, "{body}: {items:?}");
            assert!(matches!(items.last(), Some(Item::Broken(_))), "{body}: {items:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_takes_more_room_than_an_item(
            body in proptest::collection::vec(proptest::sample::select(b"[]{}\",\\x\n ".to_vec()), 0..400),
            size in 1_usize..9,
        ) {
            for shape in [Shape::Lines, Shape::Array] {
                let mut splitter = Splitter::new(shape, 20);
                for piece in body.chunks(size) {
                    splitter.push(piece);
                    while splitter.next_item().is_some() {}
                    prop_assert!(splitter.buffer.len() <= 20 + size);
                }
            }
        }
    }
}
