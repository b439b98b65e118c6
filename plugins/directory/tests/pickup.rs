//! What is picked up, and what is not: the channel on a bench.

use sluice_directory::Directory;
use sluice_sdk::Outcome;
use sluice_sdk::testing::{Bench, Report};
use std::fs;
use std::path::Path;

const LETTER: &str = "X-Receiver: <fred@next.example>\nFrom: a@hub.example\nSubject: x\n\nbody\n";

/// Looks at the folder once.
fn look(folder: &Path, options: &[(&str, &str)]) -> Report {
    let bench = Bench::<Directory>::new().option("pickup_dir", folder.to_str().expect("a path"));
    options.iter().fold(bench, |bench, (name, value)| bench.option(name, *value)).polls(1).run()
}

#[test]
fn answers_that_a_crash_has_left_do_not_count_for_another_file_of_the_name() {
    let root = tempfile::tempdir().expect("a folder");
    let taken = root.path().join(".taken");
    fs::create_dir(&taken).expect("a folder");
    // The file that they were about was brought in and removed, and then the machine stopped.
    fs::write(taken.join(".answered-report.eml"), "fred@next.example\n").expect("a file");
    fs::write(taken.join(".part-1-a-1"), "half").expect("a file");
    fs::write(root.path().join("report.eml"), LETTER).expect("a file");
    // They go first: a worker that has just brought in what they were about may be doing the same.
    let report = look(root.path(), &[]);
    assert_eq!(report.submissions.len(), 0, "{:?}", report.log);
    let report = look(root.path(), &[]);
    report.assert_clean();
    assert_eq!(report.submissions.len(), 1, "{:?}", report.log);
    assert_eq!(fs::read_dir(&taken).expect("a folder").count(), 0);
    // Of a file that still waits they count.
    fs::write(taken.join(".answered-waits.eml"), "fred@next.example\n").expect("a file");
    fs::write(taken.join("waits.eml"), LETTER).expect("a file");
    let report = look(root.path(), &[]);
    assert_eq!((report.submissions.len(), fs::read_dir(&taken).expect("a folder").count()), (0, 0));
}

#[test]
fn answers_of_a_file_that_has_gone_do_not_count_while_the_channel_works_either() {
    let root = tempfile::tempdir().expect("a folder");
    let folder = root.path().to_owned();
    let bench = || Bench::<Directory>::new().option("pickup_dir", root.path().to_str().expect("a path"));
    fs::write(folder.join("first.eml"), LETTER).expect("a file");
    fs::write(folder.join("second.eml"), LETTER).expect("a file");
    let report = bench()
        .answers(move |brought| {
            // Whoever brought in another `second.eml` has not come to remove this.
            fs::write(folder.join(".taken/.answered-second.eml"), "fred@next.example\n").expect("a file");
            Ok(brought.recipients.iter().map(|_| Outcome::delivered("queued")).collect())
        })
        .polls(1)
        .run();
    assert_eq!(report.submissions.len(), 1, "the second waits: {:?}", report.log);
    let report = bench().polls(1).run();
    assert_eq!(report.submissions.len(), 1, "and is brought in: {:?}", report.log);
    assert_eq!(fs::read_dir(root.path().join(".taken")).expect("a folder").count(), 0);
}
