//! What a child takes from itself before it opens the library: priority, memory, privileges, files, system calls.
//!
//! `docs/internals/isolation.md` lists it. What the kernel does not have is left out, and said.
//!
//! # Failure
//! What the kernel has and does not do is an error, and the child ends: a plugin is not run with less around it than was
//! promised.

use crate::wire::Hello;
use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::process::{Pid, Resource, Rlimit, Signal};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Most descriptors of a child.
const DESCRIPTORS_MAX: u64 = 1024;
/// How much lower than the hub's its priority is.
const NICE: i32 = 10;
/// The newest version of landlock that was thought about.
const LANDLOCK: ABI = ABI::V6;

/// Where every plugin may read and start programs: what the system's libraries, name lookups and certificates need.
const READ: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc", "/opt", "/proc", "/sys", "/dev", "/run"];
/// Where every plugin may write.
const WRITE: &[&str] = &["/tmp", "/dev/null", "/dev/zero", "/dev/full", "/dev/tty"];

/// Confines this process; what is in force, in words.
///
/// # Errors
/// What could not be done.
pub(crate) fn confine(hello: &Hello) -> Result<String, String> {
    let failed = |what: &'static str| move |error: rustix::io::Errno| format!("{what}: {error}");
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(failed("cannot be tied to the hub's life"))?;
    let hub = Pid::from_raw(hello.hub.cast_signed());
    if rustix::process::getppid() != hub {
        return Err("the hub has gone".to_owned());
    }
    rustix::process::setpgid(None, None).map_err(failed("no process group of its own"))?;
    // Lower is always allowed.
    let _ = rustix::process::nice(NICE);
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, DESCRIPTORS_MAX)?;
    let mut words = Vec::new();
    if hello.memory > 0 {
        limit(Resource::Data, hello.memory)?;
        words.push(format!("{} MiB of memory", hello.memory >> 20));
    }
    rustix::thread::set_no_new_privs(true).map_err(failed("cannot give up new privileges"))?;
    words.push(files(hello)?);
    words.push(system_calls(hello.hub)?);
    Ok(words.join(", "))
}

fn limit(resource: Resource, most: u64) -> Result<(), String> {
    let now = rustix::process::getrlimit(resource);
    let most = now.maximum.map_or(most, |maximum| maximum.min(most));
    rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
        .map_err(|error| format!("cannot limit {resource:?}: {error}"))
}

fn files(hello: &Hello) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("landlock: {error}");
    let read = AccessFs::from_read(LANDLOCK);
    let all = AccessFs::from_all(LANDLOCK);
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(all)
        .map_err(|error| failed(&error))?
        .scope(Scope::Signal)
        .map_err(|error| failed(&error))?
        .scope(Scope::AbstractUnixSocket)
        .map_err(|error| failed(&error))?
        .create()
        .map_err(|error| failed(&error))?;
    let library = Path::new(&hello.file).parent().unwrap_or(Path::new("/"));
    let readable = READ.iter().map(Path::new).chain([library]).chain(hello.read.iter().map(Path::new));
    let writable = WRITE.iter().map(Path::new).chain(hello.write.iter().map(Path::new));
    let with = |access| move |path| (path, access);
    for (path, access) in readable.map(with(read)).chain(writable.map(with(all))) {
        // What is not there needs no rule.
        let Ok(open) = PathFd::new(path) else { continue };
        let access = if path.is_dir() { access } else { access & AccessFs::from_file(LANDLOCK) };
        rules = rules.add_rule(PathBeneath::new(open, access)).map_err(|error| failed(&error))?;
    }
    let status = rules.restrict_self().map_err(|error| failed(&error))?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "landlock",
        RulesetStatus::PartiallyEnforced => "landlock in part (an older kernel)",
        RulesetStatus::NotEnforced => "no landlock (the kernel has none)",
    }
    .to_owned())
}

/// System calls that no channel needs.
const REFUSED: &[libc::c_long] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_tkill,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    // Mounts, name spaces, roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_open_tree,
    libc::SYS_mount_setattr,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    // The machine.
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_syslog,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_vhangup,
    // Keys, and ways past this list.
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// Flags of `clone` for name spaces of its own: mounts, groups, names, messages, users, processes, network. That for time
/// is only for calls that are refused.
const NAME_SPACES: &[u64] =
    &[0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000];

fn system_calls(hub: u32) -> Result<String, String> {
    let failed = |error: &dyn std::fmt::Display| format!("seccomp: {error}");
    let Ok(machine) = std::env::consts::ARCH.try_into() else {
        return Ok("no seccomp (not known for this kind of machine)".to_owned());
    };
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let first = |compared: SeccompCmpOp, value: u64| {
        SeccompCondition::new(0, SeccompCmpArgLen::Dword, compared, value)
            .and_then(|condition| SeccompRule::new(vec![condition]))
            .map_err(|error| failed(&error))
    };
    let first_is = |value: u64| first(SeccompCmpOp::Eq, value);
    let negative = |number: u32| u64::from(number.wrapping_neg());
    // Everybody, the hub, its process group.
    rules.insert(
        libc::SYS_kill,
        vec![first_is(negative(1))?, first_is(hub.into())?, first_is(negative(hub))?],
    );
    rules.insert(libc::SYS_tgkill, vec![first_is(hub.into())?]);
    // Of its own limits alone: every thread of another has a number that does for this call.
    rules.insert(libc::SYS_prlimit64, vec![first(SeccompCmpOp::Ne, 0)?]);
    // A name space of any kind.
    let spaces: Result<Vec<SeccompRule>, String> =
        NAME_SPACES.iter().map(|bit| first(SeccompCmpOp::MaskedEq(*bit), *bit)).collect();
    rules.insert(libc::SYS_clone, spaces?);
    let errno = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error().cast_unsigned());
    // Its flags lie in memory, where no filter sees them; the C library uses the old call where this one is not there.
    let absent = SeccompAction::Errno(rustix::io::Errno::NOSYS.raw_os_error().cast_unsigned());
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    for (rules, answer) in [(clone3, absent), (rules, errno)] {
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, answer, machine)
            .map_err(|error| failed(&error))?;
        let program = BpfProgram::try_from(filter).map_err(|error| failed(&error))?;
        match seccompiler::apply_filter(&program) {
            Ok(()) => {}
            Err(seccompiler::Error::Seccomp(error)) if error.raw_os_error() == Some(22) => {
                return Ok("no seccomp (the kernel has none)".to_owned());
            }
            Err(error) => return Err(failed(&error)),
        }
    }
    Ok("seccomp".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{getpid, getrlimit, prlimit};

    #[test]
    fn limits_of_others_are_refused_and_threads_and_programs_start() {
        // The filter is this thread's, and of what it starts.
        let tried = std::thread::spawn(|| {
            let words = system_calls(1).unwrap();
            let now = getrlimit(Resource::Nofile);
            let other = prlimit(Some(getpid()), Resource::Nofile, now).map(|_| ());
            let own = prlimit(None, Resource::Nofile, now).is_ok();
            let thread = std::thread::spawn(|| 7).join().unwrap();
            let program = std::process::Command::new("true").status().unwrap().success();
            (words, other, own, thread, program)
        });
        let (words, other, own, thread, program) = tried.join().unwrap();
        assert!(own && thread == 7 && program);
        if words == "seccomp" {
            assert_eq!(other, Err(rustix::io::Errno::PERM));
        }
    }
}
