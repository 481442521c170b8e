//! What a disk wrote down (the format of the kernel's dm-log-writes), and the states it may be in when its power goes.

use super::disk::{MARK, MARKS};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

const MAGIC: u64 = 0x6a_7366_7773_6872;
const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const AT_ONCE: u64 = 2;
const DISCARD: u64 = 4;

struct Entry {
    at: u64,
    length: u64,
    flags: u64,
    /// Where the log has the data.
    data: u64,
}

impl Entry {
    fn writes(&self) -> bool {
        self.length > 0 && self.at != MARKS
    }
}

/// A number that was written down, and how many entries were there before.
pub(super) struct Mark {
    pub(super) entry: usize,
    pub(super) kind: u64,
    pub(super) number: u64,
}

pub(super) struct Log {
    file: File,
    entries: Vec<Entry>,
    pub(super) marks: Vec<Mark>,
}

fn numbers<const N: usize>(bytes: &[u8]) -> [u64; N] {
    std::array::from_fn(|n| u64::from_le_bytes(bytes[n * 8..n * 8 + 8].try_into().unwrap()))
}

impl Log {
    pub(super) fn read(file: File) -> Self {
        let mut sector = [0; SECTOR as usize];
        file.read_exact_at(&mut sector, 0).unwrap();
        let [magic, _, count] = numbers(&sector);
        assert_eq!(magic, MAGIC, "a log of writes");
        let (mut entries, mut marks, mut at) = (Vec::new(), Vec::new(), SECTOR);
        for entry in 0..usize::try_from(count).unwrap() {
            file.read_exact_at(&mut sector, at).unwrap();
            let [first, sectors, flags, _] = numbers(&sector);
            let data = at + SECTOR;
            let length = sectors * SECTOR;
            at = data + if flags & DISCARD == 0 { length } else { 0 };
            if first * SECTOR == MARKS && length > 0 {
                file.read_exact_at(&mut sector, data).unwrap();
                assert_eq!(&sector[..8], MARK);
                let [_, kind, number] = numbers(&sector);
                marks.push(Mark { entry, kind, number });
            }
            entries.push(Entry { at: first * SECTOR, length, flags, data });
        }
        Self { file, entries, marks }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The last entry from this one on that has no flush behind it yet.
    pub(super) fn before_the_next_flush(&self, entry: usize) -> usize {
        let flush = self.entries[entry + 1..].iter().position(|entry| entry.flags & FLUSH != 0);
        flush.map_or(entry, |ahead| entry + ahead)
    }

    fn data(&self, entry: &Entry) -> Vec<u8> {
        let mut data = vec![0; usize::try_from(entry.length).unwrap()];
        if entry.flags & DISCARD == 0 {
            self.file.read_exact_at(&mut data, entry.data).unwrap();
        }
        data
    }

    /// Does to an image what an entry says.
    fn apply(&self, entry: &Entry, image: &File) {
        image.write_all_at(&self.data(entry), entry.at).unwrap();
    }

    /// Does some of it: a sector is written whole or not at all, and nothing else is promised.
    fn tear(&self, entry: &Entry, image: &File, dice: &mut Dice) {
        for (n, sector) in self.data(entry).chunks_exact(SECTOR as usize).enumerate() {
            if dice.roll(2) == 0 {
                image.write_all_at(sector, entry.at + n as u64 * SECTOR).unwrap();
            }
        }
    }
}

/// Numbers without end, the same for the same seed.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: usize) -> Self {
        let mut dice = Self((seed as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        dice.roll(2);
        dice
    }

    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }
}

/// Makes images from the beginning of a log to its end.
pub(super) struct Images<'a> {
    log: &'a Log,
    /// The disk behind its last flush: so much is certain.
    certain: File,
    place: &'a Path,
    applied: usize,
    /// Writes that nobody had asked the disk to keep, in all images together.
    pub(super) unflushed: usize,
}

impl<'a> Images<'a> {
    pub(super) fn new(log: &'a Log, place: &'a Path) -> Self {
        let certain = File::create(place).unwrap();
        // The part behind the marks isn't needed; what was never written takes no room.
        certain.set_len(MARKS).unwrap();
        Self { log, certain, place, applied: 0, unflushed: 0 }
    }

    /// The disk as it may be when the power goes behind an entry: everything up to the last flush, and of what came
    /// then nothing, all, some writes, or some sectors of them. Entries have to be asked for in their order.
    pub(super) fn make(&mut self, entry: usize, seed: usize, image: &Path) {
        let log = self.log;
        let flushed = log.entries[..=entry].iter().rposition(|entry| entry.flags & FLUSH != 0);
        let flushed = flushed.map_or(0, |flush| flush + 1);
        assert!(self.applied <= flushed, "images are made in the order of the log");
        for entry in log.entries[self.applied..flushed].iter().filter(|entry| entry.writes()) {
            log.apply(entry, &self.certain);
        }
        self.applied = flushed;
        let copied = Command::new("cp").arg("--sparse=always").arg(self.place).arg(image).status().unwrap();
        assert!(copied.success());
        let image = File::options().write(true).open(image).unwrap();
        let mut dice = Dice::new(seed);
        let way = dice.roll(4);
        for entry in log.entries[flushed..=entry].iter().filter(|entry| entry.writes()) {
            self.unflushed += 1;
            match way {
                _ if entry.flags & AT_ONCE != 0 => log.apply(entry, &image),
                0 => {}
                1 => log.apply(entry, &image),
                2 if dice.roll(2) == 0 => log.apply(entry, &image),
                2 => {}
                _ => log.tear(entry, &image, &mut dice),
            }
        }
    }
}
