//! What an address needs of the channel it goes to, of all channels side by side.
//!
//! A channel with all its keywords fills many lines of a cache, and of most nothing matters here but the name. With ten
//! thousand channels each address would meet a stranger; these rows stay in the cache.
//!
//! # Not here
//! The channels themselves (`config`), and what is done where a row says that there is something to do (`rewriter`).

use sluice_config::{AddressStyle, Channel, Channels};

use crate::look;

/// The rows of all channels, in their order.
#[derive(Debug, Default)]
pub(crate) struct Destinations {
    rows: Vec<Destination>,
    /// The names, one behind the other.
    names: String,
}

/// The row of a channel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Destination {
    /// Where its name begins.
    at: u32,
    name_length: u32,
    /// A host of it with more behind it is taken off: it is this system, or has `route_local`.
    pub(crate) takes_off: bool,
    /// Its copies of envelope recipients may look different from the rewritten address.
    pub(crate) changes: bool,
}

impl Destinations {
    pub(crate) fn new(channels: &Channels) -> Destinations {
        let mut destinations = Destinations::default();
        for channel in channels {
            let local = std::ptr::eq(channel, channels.local());
            destinations.rows.push(Destination {
                at: u32::try_from(destinations.names.len())
                    .expect("names of channels are no longer than their file"),
                name_length: u32::try_from(channel.name.len()).expect("a name is part of a line"),
                takes_off: local || channel.settings.route_local,
                changes: changes(channel, local),
            });
            destinations.names.push_str(&channel.name);
        }
        destinations
    }

    /// The row of a channel, by its number.
    pub(crate) fn get(&self, number: usize) -> Option<Destination> {
        self.rows.get(number).copied()
    }

    /// The name of a channel.
    pub(crate) fn name(&self, row: Destination) -> &str {
        &self.names[row.at as usize..][..row.name_length as usize]
    }
}

/// Whether anything of what `rewriter` does with the copies of a channel could change an address.
fn changes(channel: &Channel, local: bool) -> bool {
    let implied_route = !channel.is_smtp() && !local && look::style_is_written(channel);
    let proper_names = channel.hosts.iter().any(|host| host.proper.is_some());
    let restyled = channel.settings.env_address_style != AddressStyle::SourceRoute;
    implied_route || proper_names || restyled || channel.local_alias.is_some()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Of the channel with this block: its name in the row, whether it takes hosts off, and whether copies may change.
    fn row(block: &str) -> (String, bool, bool) {
        let text = format!("a $U@hub.example\n\nl\nhub.example\n\n{block}\n\ntcp_z smtp\nz.example\n");
        let (config, sources, remarks) = sluice_config::read_text(&text);
        let config = config.unwrap_or_else(|| panic!("{}", remarks[0].render(&sources)));
        let destinations = Destinations::new(&config.channels);
        let found = destinations.get(1).unwrap();
        assert!(destinations.get(0).unwrap().takes_off, "the local channel");
        assert_eq!(destinations.name(destinations.get(2).unwrap()), "tcp_z");
        assert!(destinations.get(3).is_none());
        (destinations.name(found).to_owned(), found.takes_off, found.changes)
    }

    #[test]
    fn a_row_says_when_there_is_something_to_do() {
        for (block, name, takes_off, changes) in [
            ("tcp_x smtp\nx.example", "tcp_x", false, false),
            ("x\nx.example", "x", false, false),
            ("tcp_x smtp routelocal\nx.example", "tcp_x", true, false),
            ("tcp_x smtp 822\nx.example", "tcp_x", false, false),
            ("x 822\nx.example", "x", false, true),
            ("tcp_x smtp 733\nx.example", "tcp_x", false, true),
            ("tcp_x smtp uucp\nx.example", "tcp_x", false, true),
            ("tcp_x smtp\nx.example alias.example", "tcp_x", false, true),
            ("tcp_x smtp\nx.example\nother.example", "tcp_x", false, true),
            ("tcp_x smtp\nx.example\nother.example proper.example", "tcp_x", false, true),
        ] {
            assert_eq!(row(block), (name.to_owned(), takes_off, changes), "{block}");
        }
    }
}
