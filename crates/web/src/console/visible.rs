//! What strangers wrote, made safe to look at: nothing hides, nothing turns the reading direction.

/// What a character that can't be seen is shown as.
const HIDDEN: char = '\u{fffd}';

/// Whether a character changes how others are shown, or is there without being seen.
fn hides(c: char) -> bool {
    matches!(c,
        // Controls of the second set, and soft hyphens.
        '\u{7f}'..='\u{9f}' | '\u{ad}'
        // Marks that turn the reading direction, spaces without width, separators of lines.
        | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        // Letters that are drawn as nothing.
        | '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{3164}' | '\u{ffa0}'
        // Annotations and tags.
        | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

fn shown(c: char) -> char {
    match c {
        // Each control has a picture of its own.
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(HIDDEN),
        c if hides(c) => HIDDEN,
        c => c,
    }
}

/// For a place of one line: ends of lines become visible too.
pub(crate) fn line(text: &str) -> String {
    text.chars().map(shown).collect()
}

/// For a place of many lines, however the sender ends them.
pub(crate) fn block(text: &str) -> String {
    let keep = |c| if matches!(c, '\n' | '\t') { c } else { shown(c) };
    text.replace("\r\n", "\n").chars().map(keep).collect()
}

/// The beginning of a text of many lines, in one.
pub(crate) fn excerpt(text: &str, max_chars: usize) -> String {
    let mut short = String::new();
    let mut chars = text.trim().chars();
    let mut spaced = false;
    for c in chars.by_ref().take(max_chars) {
        let space = matches!(c, ' ' | '\n' | '\r' | '\t');
        if !(space && spaced) {
            short.push(if space { ' ' } else { shown(c) });
        }
        spaced = space;
    }
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hides() {
        assert_eq!(line("a\u{202e}gnp.exe\u{1b}[2J\nb"), "a\u{fffd}gnp.exe\u{241b}[2J\u{240a}b");
        for hidden in ['\u{ad}', '\u{61c}', '\u{200d}', '\u{2028}', '\u{3164}', '\u{feff}', '\u{e0041}'] {
            assert_eq!(line(&hidden.to_string()), "\u{fffd}", "{:x}", u32::from(hidden));
        }
        assert_eq!(line("Ärger in 東京 <b>"), "Ärger in 東京 <b>", "what can be seen stays as it is");
    }

    #[test]
    fn lines_stay_lines_only_where_there_is_room_for_them() {
        assert_eq!(block("a\r\nb\n\tc\rd"), "a\nb\n\tc\u{240d}d");
        assert_eq!(excerpt("  a\r\n\r\n  b\u{202e}c ", 50), "a b\u{fffd}c");
        assert_eq!(excerpt("abcdef", 3), "abc…");
        assert_eq!(excerpt("abc", 3), "abc");
    }
}
