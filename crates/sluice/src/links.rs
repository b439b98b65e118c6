//! Links to the program under names that people and scripts know: the name it was called by becomes a subcommand.

use std::ffi::OsString;
use std::path::Path;

/// Names of links, and the subcommands that they stand for.
const LINKS: &[(&str, &[&str])] = &[("etrn", &["etrn"])];

/// The command line as if the subcommand had been written: `etrn -v hub` is `sluice etrn -v hub`.
pub(crate) fn command_line(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = arguments.into_iter().collect();
    let name = arguments.first().and_then(|first| Path::new(first).file_name()?.to_str().map(str::to_owned));
    if let Some((_, words)) = LINKS.iter().find(|(link, _)| Some(*link) == name.as_deref()) {
        arguments.splice(1..1, words.iter().map(OsString::from));
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &[&str]) -> Vec<String> {
        let arguments = command_line(line.iter().map(OsString::from));
        arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn the_name_of_a_link_is_the_subcommand() {
        assert_eq!(called(&["/usr/lib/etrn", "-v", "hub"]), ["/usr/lib/etrn", "etrn", "-v", "hub"]);
        assert_eq!(called(&["etrn"]), ["etrn", "etrn"]);
        assert_eq!(called(&["./sluice", "etrn", "hub"]), ["./sluice", "etrn", "hub"]);
        assert!(called(&[]).is_empty());
    }
}
