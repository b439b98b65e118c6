//! Yes or no, asked of the person at the terminal. No terminal is a no.

use std::io::{self, BufRead, IsTerminal, Write};

/// Longest answer that is read: whoever pastes more did not answer.
const ANSWER_MAX: u64 = 1024;

/// Asks, and says whether the answer was yes. Where standard input or standard error is no terminal nobody is asked, and
/// `otherwise` is said.
pub(crate) fn given(question: &str, otherwise: &str) -> io::Result<bool> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        crate::complain(otherwise);
        return Ok(false);
    }
    write!(io::stderr().lock(), "{question} [y/N] ")?;
    let mut answer = Vec::new();
    io::Read::take(io::stdin().lock(), ANSWER_MAX).read_until(b'\n', &mut answer)?;
    let yes = matches!(answer.trim_ascii().to_ascii_lowercase().as_slice(), b"y" | b"yes");
    if !yes {
        crate::complain("nothing was done");
    }
    Ok(yes)
}
