//! The names that this system takes mail for: what one asks a server for who asks for everything.
//!
//! A name is ours when mail for it would go to the local channel, or to another channel that delivers here. Candidates
//! are the hosts of the local channel and the patterns of the rules that are plain names; each is put through the rules,
//! so that what is asked for is what would be accepted. A pattern `.example.com` that leads here stands for all hosts of
//! the domain and becomes `@example.com`, as ETRN writes that.
//!
//! # Not here
//! Names in databases and behind patterns with wildcards: nobody can list what they match.

use std::collections::HashSet;

use sluice_config::{Channel, Config, is_local_name};
use sluice_dispatch::Loaded;
use sluice_mail::{Address, a_labels};
use sluice_rewrite::{Context, Kind};
use sluice_smtp::asker::Name;
use sluice_smtp::etrn::Node;

/// The plugin that delivers into mailboxes of this machine.
const LOCAL_PLUGIN: &str = "local";
/// A host below a domain that nobody has a rule for.
const ANY_HOST: &str = "any-host-of-it";

/// The names, those of the local channel first, then in the order of the rules; none twice.
pub(crate) fn own_names(loaded: &Loaded) -> Vec<Name> {
    let config = &loaded.config;
    let hosts = config.channels.local().hosts.iter().map(|host| host.name.as_str());
    let patterns = config.rules.iter().map(|rule| rule.pattern.as_str());
    let (mut names, mut seen) = (Vec::new(), HashSet::new());
    for candidate in hosts.chain(patterns) {
        let (domain, asked) = match candidate.strip_prefix('.') {
            Some(below) => (format!("{ANY_HOST}.{below}"), format!("@{}", a_labels(below))),
            None => (candidate.to_owned(), a_labels(candidate).into_owned()),
        };
        // ETRN and ATRN take ASCII. What is no domain, such as a pattern with a wildcard, is nothing that one could ask for.
        let is_node = matches!(asked.parse(), Ok(Node::Host(_) | Node::Subnet(_)));
        if !is_node || seen.contains(&asked.to_ascii_lowercase()) || !is_ours(loaded, &domain) {
            continue;
        }
        seen.insert(asked.to_ascii_lowercase());
        names.extend(asked.parse::<Name>().ok());
    }
    names
}

/// Whether mail for the domain stays here.
fn is_ours(loaded: &Loaded, domain: &str) -> bool {
    let Config { channels, services, .. } = &*loaded.config;
    let source_channel = services.first().map_or("tcp_local", |service| service.channel.as_str());
    let context = Context { kind: Kind::EnvelopeTo, source_channel, destination_channel: None };
    let Ok(route) = loaded.rewriter.route(&Address::new("postmaster", domain), &context, None) else {
        return false;
    };
    channels.by_name(&route.channel).is_some_and(delivers_here)
}

fn delivers_here(channel: &Channel) -> bool {
    is_local_name(&channel.name) || channel.plugin.as_deref() == Some(LOCAL_PLUGIN)
}
