//! A child from the hub's side: its process with the threads that watch and hear it, its greeting, and its end.
//!
//! # Not here
//! What it is given (`life`), and what it says (`reader`).

use crate::files::Files;
use crate::instance::Shared;
use crate::process::how;
use crate::reader;
use crate::sync::{Handle, Process, send, thread, watch};
use crate::watch::Knowledge;
use crate::wire::{self, Hello, Ready, ToChild};
use rustix::fs::{MemfdFlags, SealFlags};
use sluice_host::{LastCall, Recorder, SettingKind};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a child has, at least, from its start to its word that it has the library.
pub(crate) const START_MIN: Duration = Duration::from_secs(10);
/// Leases that a child's own queue has room for: the caller's limit is kept in the hub.
const CHILDS_BOUND: usize = 1 << 16;

/// A child that has said that it is ready.
pub(crate) struct Child {
    process: Process,
    pub(crate) handle: Arc<Handle>,
    recorder: File,
    pub(crate) known: Knowledge,
    threads: Vec<thread::JoinHandle<()>>,
    pub(crate) files: Files,
    pub(crate) looked: Ready,
}

impl Child {
    /// Starts a child and waits until it has the library.
    pub(crate) fn start(shared: &Arc<Shared>, looks: bool) -> Result<Child, String> {
        let recorder = recorder().map_err(|error| format!("no recorder for a process: {error}"))?;
        {
            let mut state = shared.state.lock();
            (state.over, state.retire, state.answer, state.stopped) = (false, None, None, None);
            state.hung = 0;
            state.asked = false;
            state.frames.clear();
            state.life += 1;
        }
        let mut process = Process::start(&shared.program)
            .map_err(|error| format!("no process could be started: {error}"))?;
        let handle = Arc::clone(&process.handle);
        let known = Knowledge::default();
        let mut threads = Vec::new();
        let watching = (Arc::clone(shared), Arc::clone(&handle), process.output.take(), Arc::clone(&known));
        let reading = (Arc::clone(shared), Arc::clone(&handle), Arc::clone(&known));
        let started = thread::Builder::new()
            .name(shared.thread("watch"))
            .spawn(move || {
                let (shared, handle, output, known) = watching;
                watch(&shared, &handle, output, &known);
            })
            .and_then(|watching| {
                threads.push(watching);
                let read = move || {
                    let (shared, handle, known) = reading;
                    reader::read(&shared, &handle, &known);
                };
                thread::Builder::new().name(shared.thread("hear")).spawn(read)
            });
        match started {
            Ok(reading) => threads.push(reading),
            Err(error) => {
                // Nobody tells that it is over but the reader.
                shared.state.lock().over = true;
                return Err(format!("no thread for a process: {error}"));
            }
        }
        let mut child = Child {
            process,
            handle,
            recorder,
            known,
            threads,
            files: Files::default(),
            looked: Ready::default(),
        };
        match child.greet(shared, looks) {
            Ok(ready) => child.looked = ready,
            Err(why) => {
                let ended = child.end();
                let why = if why.is_empty() { format!("its process {}", ended.how) } else { why };
                return Err(why);
            }
        }
        if looks {
            child.end();
        } else {
            let mut state = shared.state.lock();
            (state.pid, state.children) = (Some(child.handle.pid), state.children + 1);
        }
        Ok(child)
    }

    /// Says what the child is for, and waits for its word. An empty reason: it has died.
    fn greet(&self, shared: &Shared, looks: bool) -> Result<Ready, String> {
        let texts =
            |paths: &[PathBuf]| paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        let mut read: Vec<String> = texts(&shared.limits.read);
        let facts = shared.spec.settings.iter().filter(|one| one.kind == SettingKind::Fact);
        read.extend(facts.filter(|fact| fact.name == "folder").map(|fact| fact.value.clone()));
        let mut spec = shared.spec.clone();
        spec.queue_bound = CHILDS_BOUND;
        let hello = Hello {
            version: wire::VERSION,
            level: level(),
            looks,
            hub: std::process::id(),
            memory: shared.limits.memory.unwrap_or(0),
            file: shared.sealed.file().to_string_lossy().into_owned(),
            read,
            write: if looks { Vec::new() } else { texts(&shared.limits.write) },
            spec,
        };
        let mut octets = Vec::new();
        ToChild::Hello(Box::new(hello)).write(&mut octets);
        let beside = [&self.recorder, shared.sealed.descriptor()];
        if send(&self.handle.socket, &octets, &beside).is_err() {
            self.handle.kill();
            return Err(String::new());
        }
        let until = Instant::now() + shared.spec.create_deadline.max(START_MIN);
        let mut state = shared.state.lock();
        loop {
            match state.answer.take() {
                Some(Ok(ready)) => return Ok(ready),
                Some(Err(why)) => return Err(why),
                None if state.over => return Err(String::new()),
                None => {}
            }
            if shared.changed.wait_until(&mut state, until).timed_out() && state.answer.is_none() {
                drop(state);
                self.handle.kill();
                return Err("its process did not load the library in time".to_owned());
            }
        }
    }

    /// Ends the child, if it has not ended, takes everything that it has said, and tells what is known of its end.
    pub(crate) fn end(&mut self) -> Ended {
        self.handle.kill();
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
        let status = self.process.wait();
        let how = match &status {
            Ok(status) => how(*status),
            Err(error) => format!("ended, and nobody knows how: {error}"),
        };
        let known = self.known.lock();
        Ended {
            how: known.ended_because.clone().unwrap_or(how),
            memory: known.memory,
            calls: Recorder::read(&self.recorder).map(|(_, calls)| calls).unwrap_or_default(),
        }
    }
}

/// What is known of an end.
pub(crate) struct Ended {
    pub(crate) how: String,
    pub(crate) memory: u64,
    pub(crate) calls: Vec<LastCall>,
}

/// A file for a child's recorder, which the child cannot make shorter.
fn recorder() -> std::io::Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = File::from(rustix::fs::memfd_create(c"sluice-recorder", flags)?);
    file.set_len(Recorder::length())?;
    file.write_all_at(&[0; 64], 0)?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(file)
}

/// How verbose the log is.
fn level() -> u8 {
    use tracing::level_filters::LevelFilter;
    match LevelFilter::current() {
        LevelFilter::OFF => 0,
        LevelFilter::ERROR => 1,
        LevelFilter::WARN => 2,
        LevelFilter::INFO => 3,
        LevelFilter::DEBUG => 4,
        LevelFilter::TRACE => 5,
    }
}
