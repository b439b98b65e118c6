//! What in a Rust source is code: comments and literals blanked out, line for line and column for column.
//!
//! This is not a lexer of the language, only as much of one as the rules need so that a word in a comment or a string
//! does not count.

/// The text with comments and the insides of literals replaced by blanks; newlines stay where they are.
pub(crate) fn only_code(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_end(bytes, at),
            b'"' => quoted_end(bytes, at),
            b'r' if !joined(bytes, at) => raw_end(bytes, at).unwrap_or(at),
            b'\'' => character_end(bytes, at).unwrap_or(at),
            _ => at,
        };
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    // What was blanked is whole characters, so this is still UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

/// Is the byte at `at` the continuation of an identifier (`br"` is: its `r` still opens a raw string)?
fn joined(bytes: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|i| bytes[i]);
    match before {
        Some(b'b' | b'c') => at >= 2 && is_word(bytes[at - 2]),
        Some(byte) => is_word(byte),
        None => false,
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| at + n)
}

fn block_end(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut here) = (0usize, at);
    while here < bytes.len() {
        match &bytes[here..(here + 2).min(bytes.len())] {
            b"/*" => {
                depth += 1;
                here += 2;
            }
            b"*/" => {
                depth -= 1;
                here += 2;
                if depth == 0 {
                    return here;
                }
            }
            _ => here += 1,
        }
    }
    bytes.len()
}

fn quoted_end(bytes: &[u8], at: usize) -> usize {
    let mut here = at + 1;
    while here < bytes.len() {
        match bytes[here] {
            b'\\' => here += 2,
            b'"' => return here + 1,
            _ => here += 1,
        }
    }
    bytes.len()
}

fn raw_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let open = at + 1 + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(hashes + 1, b'#');
    let rest = &bytes[open + 1..];
    let length = rest.windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |n| open + 1 + n + close.len()))
}

/// The end of a character literal; `None` when the quote begins a lifetime.
fn character_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at + 1)? {
        b'\\' => bytes[at + 3..].iter().position(|byte| *byte == b'\'').map(|n| at + 3 + n + 1),
        _ => {
            // One character of one to four bytes, then the closing quote; anything else is a lifetime.
            let width = bytes[at + 1..].iter().skip(1).take_while(|byte| **byte & 0xC0 == 0x80).count() + 1;
            (bytes.get(at + 1 + width) == Some(&b'\'')).then_some(at + 2 + width)
        }
    }
}

/// The 1-based line of each place where `word` stands as a word of its own.
pub(crate) fn lines_with_word(code: &str, word: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    for (number, line) in code.lines().enumerate() {
        let stands = line.match_indices(word).any(|(at, _)| {
            let before = line[..at].bytes().next_back().is_some_and(is_word);
            let after = line[at + word.len()..].bytes().next().is_some_and(is_word);
            !before && !after
        });
        if stands {
            lines.push(number + 1);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked_and_nothing_moves() {
        let text = "let a = \"unsafe \\\" unsafe\"; // unsafe\n/* unsafe /* unsafe */ */ let b = 'u';\nr#\"unsafe \" unsafe\"# fn f<'a>() { unsafe {} }";
        let code = only_code(text);
        assert_eq!(code.len(), text.len());
        assert_eq!(lines_with_word(&code, "unsafe"), [3]);
        assert!(code.contains("fn f<'a>()"), "{code}");
    }

    #[test]
    fn odd_characters_do_not_upset_it() {
        for text in [
            "'é' unsafe",
            "b\"\\\\\" unsafe",
            "br##\"x\"# \"## unsafe",
            "'\\u{1F600}' unsafe",
            "'\\'' unsafe",
        ] {
            assert_eq!(lines_with_word(&only_code(text), "unsafe"), [1], "{text}");
        }
        for text in
            ["\"never closed unsafe", "/* never closed unsafe", "r#\"never closed unsafe", "// unsafe"]
        {
            assert!(lines_with_word(&only_code(text), "unsafe").is_empty(), "{text}");
        }
    }

    #[test]
    fn a_word_is_not_part_of_a_longer_one() {
        assert!(lines_with_word("forbid(unsafe_code) not_unsafe", "unsafe").is_empty());
        assert_eq!(lines_with_word("x\n  unsafe fn", "unsafe"), [2]);
    }
}
