//! Who is at the other end of the control socket: everybody that can open it, but no plugin in a process of its own.
//!
//! The process of an isolated plugin runs as the hub's user, and what keeps it from files (landlock) does not keep it, nor what it
//! starts, from connecting to a socket that has a path. It is known by what it cannot get rid of: new privileges are given up, and it has the
//! two filters of system calls that `isolate` has put around it more than the hub has itself. What else runs as this user with so
//! much around it, more than there is around the hub, is refused as well; root is not.
//!
//! # Failure
//! A process that is gone when it is looked for is refused. One that ends, and whose number another has by then, is taken for that one:
//! the numbers would have to go round once between its connecting and the look.

use std::fs;
use std::os::unix::fs::MetadataExt;

use tokio::net::UnixStream;

/// Filters that a plugin's process has more than the hub.
const FILTERS: u32 = 2;

/// Why a client may not ask for anything.
pub(crate) fn refusal(stream: &UnixStream) -> Option<&'static str> {
    let Ok(credentials) = stream.peer_cred() else { return Some("nobody can tell who this is") };
    let is_ours = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == credentials.uid());
    // One of another name space of processes has no number here; a plugin's process cannot be in one.
    let pid = credentials.pid().filter(|pid| is_ours && *pid > 0)?;
    let status = |who: &str| fs::read_to_string(format!("/proc/{who}/status"));
    let Ok(own) = status("self") else { return None };
    match status(&pid.to_string()) {
        Err(_) => Some("the process that asks is gone"),
        Ok(other) if is_plugins(&other, &own) => {
            Some("a process that is confined as those of plugins are may not command the hub")
        }
        Ok(_) => None,
    }
}

/// By proc(5), `/proc/PID/status`.
fn is_plugins(status: &str, own: &str) -> bool {
    let number = |status: &str, name: &str| -> Option<u32> {
        status.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    let has_filters = number(status, "Seccomp:") == Some(2);
    // Kernels before 5.9 tell only whether there is one.
    let filters =
        |status: &str| number(status, "Seccomp_filters:").or_else(|| number(status, "Seccomp:")).unwrap_or(0);
    number(status, "NoNewPrivs:") == Some(1) && has_filters && filters(status) >= filters(own) + FILTERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_processes_are_known_by_what_is_around_them() {
        let of = |privileges: u32, mode: u32, filters: Option<u32>| {
            let filters = filters.map(|count| format!("Seccomp_filters:\t{count}\n")).unwrap_or_default();
            format!("Name:\tx\nNoNewPrivs:\t{privileges}\nSeccomp:\t{mode}\n{filters}Cpus_allowed:\t3\n")
        };
        let (bare, plugin) = (of(0, 0, Some(0)), of(1, 2, Some(2)));
        assert!(is_plugins(&plugin, &bare));
        assert!(!is_plugins(&bare, &bare), "an operator");
        // A hub in a container, beside an operator there, and a plugin of its.
        let contained = of(1, 2, Some(1));
        assert!(!is_plugins(&contained, &contained));
        assert!(is_plugins(&of(1, 2, Some(3)), &contained));
        assert!(!is_plugins(&contained, &bare), "an operator in a container, the hub outside");
        // Older kernels.
        assert!(is_plugins(&of(1, 2, None), &of(0, 0, None)));
        assert!(!is_plugins("", &bare));
    }
}
