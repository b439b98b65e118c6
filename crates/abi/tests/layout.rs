//! The offsets in `docs/internals/abi.md` and in `include/sluice.h` are those of the types.
//!
//! One text has all of it, offsets, sizes, types and constants: a change of it is named, with what it means for libraries that are there.
//!
//! `UPDATE_HEADER=1 cargo test -p sluice-abi` writes the header and the manual page anew after a change; the document is
//! written by hand, because it comes first.
#![allow(clippy::unwrap_used)]

mod header;
mod manual;
mod snapshot;

use sluice_abi as abi;
use std::fmt::Write;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::process::Command;

use snapshot::Meaning;

pub(crate) struct Layout {
    name: &'static str,
    size: usize,
    align: usize,
    fields: Vec<(&'static str, usize, usize)>,
}

macro_rules! layout {
    ($name:ident { $($field:ident),* $(,)? }) => {{
        fn size_of_field<T, F>(_: fn(&T) -> &F) -> usize {
            size_of::<F>()
        }
        // Does not compile when a field is missing in the list.
        let _all = |value: abi::$name| {
            let abi::$name { $($field: _),* } = value;
        };
        Layout {
            name: stringify!($name),
            size: size_of::<abi::$name>(),
            align: align_of::<abi::$name>(),
            fields: vec![$((
                stringify!($field),
                offset_of!(abi::$name, $field),
                size_of_field(|value: &abi::$name| &value.$field),
            )),*],
        }
    }};
}

fn layouts() -> Vec<Layout> {
    vec![
        layout!(Text { data, len }),
        layout!(Piece { data, len }),
        layout!(OptionSpec { name, kind, flags, default, help, min, max }),
        layout!(Setting { kind, reserved, name, value }),
        layout!(Create { size, setting_size, handle, channel, settings, setting_count }),
        layout!(Recipient { index, reserved, address, original, domain, notify, reserved_too, origin }),
        layout!(Delivery {
            size,
            flags,
            token,
            lease,
            id,
            sender,
            arrived_ms,
            body_size,
            attempts,
            priority,
            recipients,
            recipient_count,
            recipient_size,
            reserved,
            pieces,
            piece_count,
            next_hop,
            returned,
            reserved_too,
            envelope_id,
            transfer_priority,
            reserved_three,
        }),
        layout!(Outcome { size, kind, class, subject, detail, handover, text, peer }),
        layout!(Submitted { address, original, notify, reserved, origin }),
        layout!(Submission {
            size,
            flags,
            of,
            sender,
            recipients,
            recipient_count,
            recipient_size,
            returned,
            pieces,
            piece_count,
            answered,
            context,
            envelope_id,
        }),
        layout!(FilterRecipient { index, notify, address, original, channel, origin }),
        layout!(FilterMessage {
            size,
            flags,
            number,
            time_ms,
            id,
            source_channel,
            destination_channel,
            opt_in,
            sender,
            client_address,
            client_name,
            helo,
            login,
            arrived_ms,
            body_size,
            recipients,
            recipient_count,
            recipient_size,
            reserved,
            pieces,
            piece_count,
        }),
        layout!(FilterReply { size, code, class, subject, detail, reserved, text }),
        layout!(HeaderEdit { size, kind, occurrence, reserved, name, value }),
        layout!(Filtering { size, reserved, call, reply, edit, add_recipient, withdraw, time_left }),
        layout!(Host {
            abi_version,
            size,
            next,
            settle,
            finish,
            deadline,
            log,
            explain,
            enqueue,
            features,
            program,
        }),
        layout!(Plugin {
            abi_version,
            size,
            name,
            version,
            description,
            options,
            option_count,
            option_size,
            reserved,
            create,
            run,
            stop,
            destroy,
            route,
            routines,
            routine_count,
            filter,
            features,
            needs,
        }),
    ]
}

fn project(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(file)
}

#[test]
fn the_layout_is_the_one_that_libraries_rely_on() {
    let path = project("crates/abi/tests/layout.snapshot");
    let wanted = snapshot::generate(&layouts());
    let found = std::fs::read_to_string(&path).unwrap();
    if found == wanted {
        return;
    }
    let changes = snapshot::compare(&found, &wanted);
    let breaks = changes.iter().any(|change| matches!(change, Meaning::Breaks(_)));
    if std::env::var_os("UPDATE_LAYOUT").is_some() && !breaks {
        return std::fs::write(&path, &wanted).unwrap();
    }
    let told: Vec<String> = changes.iter().map(|change| format!("{change:?}")).collect();
    let way_out = if breaks {
        "this is another contract: undo it, or give it another ABI_VERSION, with which no library of today is loaded"
    } else {
        "none of it is seen by libraries of today: write it into docs/internals/abi.md and the table of boundary changes, then \
         UPDATE_LAYOUT=1 cargo test -p sluice-abi"
    };
    panic!("the layout of the contract has changed:\n{}\n{way_out}", told.join("\n"));
}

#[test]
fn what_a_change_of_the_layout_means_is_told() {
    let old = snapshot::generate(&layouts());
    let told = |from: &str, to: &str| {
        assert!(old.contains(from), "{from}");
        let changes = snapshot::compare(&old, &old.replacen(from, to, 1));
        let told = changes.iter().map(|change| match change {
            Meaning::Breaks(what) => format!("breaks: {what}"),
            Meaning::Adds(what) => format!("adds: {what}"),
        });
        told.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(told("constant STATUS_FAILED 1", "constant STATUS_FAILED 1"), "");
    for (from, to, expected) in [
        (
            "constant STATUS_FAILED 1\n",
            "constant STATUS_FAILED 5\n",
            "breaks: constant STATUS_FAILED was `1` and is `5`",
        ),
        ("constant STATUS_FAILED 1\n", "", "breaks: constant STATUS_FAILED is gone"),
        (
            "constant STATUS_FAILED 1\n",
            "constant STATUS_FAILED 1\nconstant STATUS_NEW 9\n",
            "adds: constant STATUS_NEW is new",
        ),
        ("field Delivery.id 24 16", "field Delivery.id 32 16", "breaks: field Delivery.id was `24 16"),
        ("uint32_t attempts;", "int32_t attempts;", "breaks: field Delivery.attempts was"),
        (
            "(*finish)(const sluice_worker *, uint64_t token)",
            "(*finish)(const sluice_worker *, uint32_t token)",
            "breaks: field Host.finish",
        ),
        ("structure Piece 16 8", "structure Piece 24 8", "breaks: Piece has another size or alignment"),
        ("structure Host 88 8", "structure Host 80 8", "breaks: Host was [88, 8] and is [80, 8]"),
        (
            "structure Host 88 8\n",
            "structure Host 96 8\nfield Host.more 88 8 uint64_t more;\n",
            "adds: Host is longer",
        ),
        (
            "field Host.next 8",
            "field Host.first 4 4 uint32_t first;\nfield Host.next 8",
            "breaks: field Host.first stands in front of",
        ),
        (
            "field Submitted.reserved 36 4 uint32_t reserved;",
            "field Submitted.mood 36 4 uint32_t mood;",
            "adds: field Submitted.mood has the place of a word that was 0",
        ),
        (
            "field Submitted.reserved 36 4 uint32_t reserved;\n",
            "",
            "breaks: field Submitted.reserved is gone",
        ),
        ("constant ABI_VERSION 1\n", "constant ABI_VERSION 2\n", "adds: another ABI_VERSION"),
    ] {
        let told = told(from, to);
        assert!(told.starts_with(expected), "{from}: {told}");
    }
}

#[test]
fn the_document_has_every_field_at_its_offset() {
    let document = std::fs::read_to_string(project("docs/internals/abi.md")).unwrap();
    // A structure is a heading `### Name: N bytes, align A` and a table whose first columns are offset, size and field.
    let mut written = String::new();
    let mut inside = false;
    for line in document.lines() {
        if line.starts_with('#') {
            inside = line.starts_with("### ") && line.contains(" bytes, align ");
            if inside {
                writeln!(written, "{line}").unwrap();
            }
        }
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        if inside && columns.len() > 4 && columns[1].parse::<usize>().is_ok() {
            writeln!(written, "| {} | {} | {} |", columns[1], columns[2], columns[3]).unwrap();
        }
    }
    let mut wanted = String::new();
    for layout in layouts() {
        writeln!(wanted, "### {}: {} bytes, align {}", layout.name, layout.size, layout.align).unwrap();
        for (field, offset, size) in layout.fields {
            writeln!(wanted, "| {offset} | {size} | `{field}` |").unwrap();
        }
    }
    assert_eq!(written, wanted, "docs/internals/abi.md and crates/abi/src/lib.rs disagree");
}

#[test]
fn the_document_has_every_constant() {
    let document = std::fs::read_to_string(project("docs/internals/abi.md")).unwrap();
    for (name, value) in header::constants() {
        let row = format!("| `{name}` | {value} |");
        assert!(document.contains(&row), "docs/internals/abi.md has no row `{row}`");
    }
}

#[test]
fn the_header_is_current() {
    let path = project("include/sluice.h");
    let wanted = header::generate();
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "include/sluice.h is not current: UPDATE_HEADER=1 cargo test -p sluice-abi");
}

#[test]
fn the_manual_page_is_current_and_has_no_mistake() {
    let path = project("docs/man/sluice-channel.7");
    let document = std::fs::read_to_string(project("docs/internals/abi.md")).unwrap();
    let wanted = manual::generate(&document);
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/man/sluice-channel.7 is not current: UPDATE_HEADER=1 cargo test -p sluice-abi"
    );
    let groff =
        Command::new("groff").args(["-man", "-ww", "-Tascii", "-P-cbou", "-rLL=100n"]).arg(&path).output();
    match groff {
        Ok(run) => {
            assert_eq!(String::from_utf8_lossy(&run.stderr), "");
            let text = String::from_utf8_lossy(&run.stdout).into_owned();
            assert!(text.contains("MESSAGE_AGAIN") && text.contains("transfer_priority"), "{text}");
        }
        Err(error) => not_there("groff", &error.to_string()),
    }
}

/// A program is missing. A build machine has all of them (`.ci/run` installs them); elsewhere it is said.
#[allow(clippy::print_stdout)] // For whoever runs the tests.
fn not_there(program: &str, why: &str) {
    assert!(
        std::env::var_os("CI").is_none(),
        "{program} is not installed: {why}; apt-get install g++ clang groff"
    );
    println!("{program} is not installed, so that is not tested: {why}");
}

/// The header alone is C99 and C11, and C++, for every compiler that is there.
#[test]
fn every_compiler_takes_the_header_without_a_word() {
    let folder = std::env::temp_dir().join(format!("sluice-header-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("sluice.h"), header::generate()).unwrap();
    let text = "#include \"sluice.h\"\nint size_of_table(void);\nint size_of_table(void) { return (int)sizeof(sluice_plugin_table); }\n";
    let mut taken = 0;
    for (compiler, standards, file) in [
        ("gcc", ["-std=c99", "-std=c11"], "alone.c"),
        ("clang", ["-std=c99", "-std=c11"], "alone.c"),
        ("g++", ["-std=c++11", "-std=c++17"], "alone.cc"),
        ("clang++", ["-std=c++11", "-std=c++17"], "alone.cc"),
    ] {
        if !Command::new(compiler).arg("--version").output().is_ok_and(|run| run.status.success()) {
            not_there(compiler, "it cannot be run");
            continue;
        }
        std::fs::write(folder.join(file), text).unwrap();
        for standard in standards {
            let run = Command::new(compiler)
                .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"])
                .args([&folder, &folder.join(file)])
                .output()
                .unwrap();
            assert!(run.status.success(), "{compiler} {standard}: {}", String::from_utf8_lossy(&run.stderr));
            taken += 1;
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(taken > 0, "no compiler for C is installed");
}

/// Compiles as strict C, and as C++ where there is a compiler for it, with every offset asserted.
#[test]
fn a_c_compiler_sees_the_same_layout() {
    let mut program = String::from("#include \"sluice.h\"\n#include <stddef.h>\n#include <assert.h>\n");
    for layout in layouts() {
        let name = header::type_name(layout.name);
        writeln!(program, "static_assert(sizeof({name}) == {}, \"size of {name}\");", layout.size).unwrap();
        for (field, offset, _) in layout.fields {
            let field = header::field_name(field);
            writeln!(program, "static_assert(offsetof({name}, {field}) == {offset}, \"{name}.{field}\");")
                .unwrap();
        }
    }
    for (name, value) in header::constants() {
        writeln!(program, "static_assert(SLUICE_{name} == {value}, \"{name}\");").unwrap();
    }
    program.push_str("int main(void) { return 0; }\n");
    let folder = std::env::temp_dir().join(format!("sluice-abi-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    // Not the one in the project, which may be being written by the test beside this one.
    std::fs::write(folder.join("sluice.h"), header::generate()).unwrap();
    let mut compilers = vec![("cc", "-std=c11", "layout.c")];
    if Command::new("c++").arg("--version").output().is_ok_and(|run| run.status.success()) {
        compilers.push(("c++", "-std=c++17", "layout.cc"));
    }
    for (compiler, standard, file) in compilers {
        let source = folder.join(file);
        std::fs::write(&source, &program).unwrap();
        let run = Command::new(compiler)
            .args([standard, "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only", "-I"])
            .arg(&folder)
            .arg(&source)
            .output()
            .unwrap();
        assert!(run.status.success(), "{compiler}: {}", String::from_utf8_lossy(&run.stderr));
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
