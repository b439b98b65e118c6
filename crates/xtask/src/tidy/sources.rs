//! Rules about the text of the sources.

use super::code::{lines_with_word, only_code};
use super::{Finding, Tree};

/// The modules that may hold unsafe code. Everything else forbids it.
const UNSAFE_HOMES: &[&str] = &[
    "crates/spool/src/allocator",
    "crates/spool/src/map",
    "crates/host/src/library",
    "crates/host/src/call",
    "crates/host/src/recorder",
    "crates/sdk/src/export",
    "crates/isolate/src/raw",
];

/// Crates with such a module: their roots deny unsafe code, because `forbid` could not be lifted for the one module.
const UNSAFE_CRATES: &[&str] = &["crates/spool/", "crates/host/", "crates/sdk/", "crates/isolate/"];

/// The hostile fixture does what no honest plugin could under `forbid`: it crashes, and shakes hands wrongly.
const HOSTILE: &str = "plugins/misbehaving/";

/// No file has more lines of code than this, unless it is data. Tests in the file itself do not count.
const LINES_MAX: usize = 600;

/// A file of tests is a list of cases, which has fewer seams; at some length nobody finds a case in it any more.
const TEST_LINES_MAX: usize = 1200;

/// Sources that are tables, not code.
const DATA: &[&str] = &["crates/config/src/tables.rs"];

/// Names that say nothing: what they hold has not been named yet.
const EMPTY_NAMES: &[&str] = &["common", "helper", "helpers", "misc", "types", "util", "utils"];

/// Beginnings of paths that exist on one machine only. Written in two pieces so that this list does not find itself.
const MACHINE_PATHS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

fn is_home(path: &str) -> bool {
    let at = |home: &&&str| path == format!("{home}.rs") || path.starts_with(&format!("{home}/"));
    UNSAFE_HOMES.iter().any(|home| at(&home)) || path.starts_with(HOSTILE)
}

/// Roots of crates that ship: `crates/X/src/{lib,main}.rs` and the same of plugins.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts[..], ["crates" | "plugins", _, "src", "lib.rs" | "main.rs"] | ["tests", "src", "lib.rs"])
}

/// The code with `unsafe extern "C" fn(` taken out: the type of a function pointer promises nothing and does nothing.
fn without_pointer_types(code: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_type = words
            .windows(3)
            .any(|three| three[0].ends_with("unsafe") && three[1] == "extern" && three[2].starts_with("fn("));
        if is_type { line.replace("unsafe", "") } else { line.to_owned() }
    };
    code.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Unsafe code lives in its homes, and every other crate forbids it.
pub(super) fn unsafe_homes(tree: &Tree, found: &mut Vec<Finding>) {
    for (path, text) in tree.sources() {
        let code = only_code(text);
        if !is_home(path) {
            let code = without_pointer_types(&code);
            for line in lines_with_word(&code, "unsafe") {
                found.push(Finding::new(
                    path,
                    line,
                    "unsafe code away from its homes",
                    format!("move it to one of {}, or do without", UNSAFE_HOMES.join(", ")),
                ));
            }
        }
        if is_root(path) && !path.starts_with(HOSTILE) {
            let wanted = match UNSAFE_CRATES.iter().any(|name| path.starts_with(name)) {
                true => "#![deny(unsafe_code)]",
                false => "#![forbid(unsafe_code)]",
            };
            if !code.contains(wanted) {
                found.push(Finding::new(path, 0, format!("the crate's root lacks {wanted}"), "add it"));
            }
        }
    }
}

/// Every module opens by saying what it is.
pub(super) fn module_openings(tree: &Tree, found: &mut Vec<Finding>) {
    for (path, text) in tree.sources() {
        let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("#!["));
        if !first.is_some_and(|line| line.starts_with("//!")) {
            found.push(Finding::new(
                path,
                1,
                "the module does not open by saying what it is",
                "begin the file with `//! What it is: ...`",
            ));
        }
    }
}

/// No crate and no module has a name that says nothing.
pub(super) fn names(tree: &Tree, found: &mut Vec<Finding>) {
    for (path, _) in tree.sources() {
        let empty = path.trim_end_matches(".rs").split('/').find(|part| EMPTY_NAMES.contains(part));
        if let Some(name) = empty {
            found.push(Finding::new(
                path,
                0,
                format!("`{name}` does not say what is in it"),
                "name it after what it holds",
            ));
        }
    }
}

/// Nothing is left for later, and no test is switched off.
pub(super) fn unfinished(tree: &Tree, found: &mut Vec<Finding>) {
    for (path, text) in tree.sources() {
        for (number, line) in only_code(text).lines().enumerate() {
            let squeezed: String = line.split_whitespace().collect();
            let what =
                ["todo!", "unimplemented!", "#[ignore"].into_iter().find(|mark| squeezed.contains(mark));
            if let Some(mark) = what {
                let what = format!("`{mark}` in a finished tree");
                found.push(Finding::new(path, number + 1, what, "finish it, or take it out"));
            }
        }
    }
}

/// Long files have a seam somewhere.
pub(super) fn lengths(tree: &Tree, found: &mut Vec<Finding>) {
    for (path, text) in tree.sources() {
        let (what, lines, most) = match is_test(tree, path) {
            true => ("lines of tests", text.lines().count(), TEST_LINES_MAX),
            false => {
                ("lines of code", text.lines().take_while(|line| *line != "#[cfg(test)]").count(), LINES_MAX)
            }
        };
        if lines > most && !DATA.contains(&path) {
            found.push(Finding::new(
                path,
                0,
                format!("{lines} {what}, more than {most}"),
                "look for the seam; a table is listed under DATA in crates/xtask/src/tidy/sources.rs",
            ));
        }
    }
}

/// Is the file compiled for tests only: in a folder `tests` of its package, a module that its parent declares so, or a
/// module of such a module?
fn is_test(tree: &Tree, path: &str) -> bool {
    let Some((folder, file)) = path.rsplit_once('/') else { return false };
    if path.starts_with("tests/tests/") || path.contains("/tests/") && !path.contains("/src/") {
        return true;
    }
    let declared = format!("mod {};", file.trim_end_matches(".rs"));
    let parents = [
        format!("{folder}.rs"),
        format!("{folder}/mod.rs"),
        format!("{folder}/lib.rs"),
        format!("{folder}/main.rs"),
    ];
    let of_tests = parents[..2].iter().any(|parent| {
        parent != path && tree.sources().any(|(path, _)| path == parent) && is_test(tree, parent)
    });
    if of_tests {
        return true;
    }
    tree.sources().filter(|(path, _)| parents.iter().any(|parent| parent == path)).any(|(_, text)| {
        // `#[cfg(test)]`, perhaps more attributes, and the declaration.
        let mut for_tests = false;
        text.lines().any(|line| {
            let found = for_tests && line == declared;
            for_tests = line == "#[cfg(test)]" || (for_tests && line.starts_with("#["));
            found
        })
    })
}

/// No text names a place on somebody's machine.
pub(super) fn machine_paths(tree: &Tree, found: &mut Vec<Finding>) {
    for (path, text) in tree.texts() {
        for (number, line) in text.lines().enumerate() {
            for beginning in MACHINE_PATHS {
                let absolute = line.match_indices(beginning).any(|(at, _)| {
                    !line[..at].ends_with(|before: char| before.is_alphanumeric() || "._-/}".contains(before))
                });
                if absolute {
                    found.push(Finding::new(
                        path,
                        number + 1,
                        format!("a path of one machine: {beginning}…"),
                        "make it relative, or an example below /etc or /var",
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: fn(&Tree, &mut Vec<Finding>), files: &[(&str, &str)]) -> Vec<String> {
        let mut found = Vec::new();
        rule(&Tree::of(files), &mut found);
        found
            .into_iter()
            .map(|finding| format!("{}:{}: {}", finding.path, finding.line, finding.what))
            .collect()
    }

    #[test]
    fn unsafe_away_from_home_is_found() {
        let files = [
            ("crates/queue/src/lib.rs", "//! Q.\n#![forbid(unsafe_code)]\n// unsafe in words\n"),
            ("crates/queue/src/index.rs", "//! I.\nfn f() { unsafe { g() } }\n"),
            (
                "crates/abi/src/lib.rs",
                "//! A.\n#![forbid(unsafe_code)]\npub run: Option<unsafe extern \"C\" fn(u32)>,\n",
            ),
            ("crates/spool/src/map.rs", "//! M.\nfn f() { unsafe { g() } }\n"),
            ("crates/spool/src/mapping.rs", "//! N.\nfn f() { unsafe { g() } }\n"),
        ];
        assert_eq!(
            found(unsafe_homes, &files),
            [
                "crates/queue/src/index.rs:2: unsafe code away from its homes",
                "crates/spool/src/mapping.rs:2: unsafe code away from its homes",
            ]
        );
    }

    #[test]
    fn a_root_that_does_not_forbid_is_found() {
        let files = [
            ("crates/queue/src/lib.rs", "//! Q, without #![forbid(unsafe_code)].\n"),
            ("crates/spool/src/lib.rs", "//! S.\n#![deny(unsafe_code)]\n"),
            ("plugins/pipe/src/lib.rs", "//! P.\n"),
        ];
        assert_eq!(
            found(unsafe_homes, &files),
            [
                "crates/queue/src/lib.rs:0: the crate's root lacks #![forbid(unsafe_code)]",
                "plugins/pipe/src/lib.rs:0: the crate's root lacks #![forbid(unsafe_code)]",
            ]
        );
    }

    #[test]
    fn a_module_that_does_not_introduce_itself_is_found() {
        let files =
            [("a.rs", "use std::fs;\n//! too late\n"), ("b.rs", "\n#![allow(x)]\n//! B.\n"), ("c.rs", "")];
        assert_eq!(
            found(module_openings, &files),
            [
                "a.rs:1: the module does not open by saying what it is",
                "c.rs:1: the module does not open by saying what it is"
            ]
        );
    }

    #[test]
    fn a_name_that_says_nothing_is_found() {
        let files = [
            ("crates/util/src/lib.rs", ""),
            ("crates/mail/src/types.rs", ""),
            ("crates/mail/src/time.rs", ""),
        ];
        assert_eq!(
            found(names, &files),
            [
                "crates/mail/src/types.rs:0: `types` does not say what is in it",
                "crates/util/src/lib.rs:0: `util` does not say what is in it"
            ]
        );
    }

    #[test]
    fn what_is_left_for_later_is_found() {
        let files =
            [("a.rs", "//! no todo!() here\nfn f() { todo!() }\n#[ignore]\nlet s = \"unimplemented!\";\n")];
        assert_eq!(
            found(unfinished, &files),
            ["a.rs:2: `todo!` in a finished tree", "a.rs:3: `#[ignore` in a finished tree"]
        );
    }

    #[test]
    fn a_file_without_a_seam_is_found() {
        let (long, fine) = ("x\n".repeat(601), "x\n".repeat(600));
        let with_tests = format!("{fine}#[cfg(test)]\nmod tests {{\n{fine}}}\n");
        let files = [
            ("a.rs", long.as_str()),
            ("b.rs", fine.as_str()),
            ("c.md", long.as_str()),
            ("d.rs", with_tests.as_str()),
            ("e/src/lib.rs", "#[cfg(test)]\n#[path = \"x\"]\nmod cases;\nmod code;\n"),
            ("e/src/cases.rs", long.as_str()),
            ("e/src/cases/deeper.rs", long.as_str()),
            ("e/src/code/deeper.rs", long.as_str()),
            ("e/src/code.rs", long.as_str()),
        ];
        assert_eq!(
            found(lengths, &files),
            [
                "a.rs:0: 601 lines of code, more than 600",
                "e/src/code.rs:0: 601 lines of code, more than 600",
                "e/src/code/deeper.rs:0: 601 lines of code, more than 600",
            ]
        );
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        let text = format!("fine: docs{}x, target/x\nnot: {}x\n", MACHINE_PATHS[0], MACHINE_PATHS[0]);
        assert_eq!(
            found(machine_paths, &[("a.md", text.as_str())]),
            [format!("a.md:2: a path of one machine: {}…", MACHINE_PATHS[0])]
        );
    }
}
