//! The options of the channel's option file that this plugin acts on. The names and units are PMDF's (System Manager's
//! Guide, TCP/IP channels, "SMTP channel option file") where PMDF has the option; times are in minutes and may have
//! fractions.

use sluice_sdk::{OptionKind, OptionSpec};

const fn option(
    name: &'static str,
    kind: OptionKind,
    default: Option<&'static str>,
    help: &'static str,
) -> OptionSpec {
    let option = OptionSpec::new(name, kind, help);
    match default {
        Some(default) => option.default_text(default),
        None => option,
    }
}

/// The table. Order: what limits, what names, what waits.
pub(crate) const OPTIONS: &[OptionSpec] = &[
    option(
        "MAX_CLIENT_THREADS",
        OptionKind::Integer,
        Some("10"),
        "Connections this channel has open at the same time, at most. The workers themselves are limited by `maxjobs`.",
    ),
    option(
        "ATTEMPT_TRANSACTIONS_PER_SESSION",
        OptionKind::Integer,
        None,
        "Messages sent over one connection before it is closed and another one made. Not set: no limit.",
    ),
    option(
        "MAX_MX_RECORDS",
        OptionKind::Integer,
        Some("32"),
        "MX records of a destination that are tried, best preference first; 1 to 32.",
    ),
    option("MAX_A_RECORDS", OptionKind::Integer, None, "Addresses of one host that are tried. Not set: all."),
    option(
        "BANNER_HOST",
        OptionKind::Text,
        None,
        "Our name in EHLO and HELO. Not set: the local host alias of the channel, or the official name of the local channel.",
    ),
    option(
        "SOCKET",
        OptionKind::Path,
        None,
        "A stream socket of this machine that all mail of the channel goes to in place of a host, such as that of an LMTP server; from the configuration folder on. No TLS and no login.",
    ),
    option(
        "NAMESERVER_PORT",
        OptionKind::Integer,
        Some("53"),
        "Port of the name servers given with the channel keyword `nameservers`.",
    ),
    option(
        "TLS_VERIFY",
        OptionKind::Integer,
        None,
        "1: the server's certificate must be one of an authority that is known, for the name that was called; 0: any will do. Not set: 1 with `musttlsclient`, with TLS_IMPLICIT, and where the channel logs in; else 0.",
    ),
    option(
        "TLS_CA",
        OptionKind::Text,
        None,
        "PEM file with the certificates of the authorities that are believed, from the configuration folder on. Not set: those of the system.",
    ),
    option(
        "TLS_IMPLICIT",
        OptionKind::Integer,
        Some("0"),
        "1: TLS begins with the first octet, as on port 465; nothing is ever sent without.",
    ),
    option(
        "AUTH_USERNAME",
        OptionKind::Text,
        None,
        "Name to log in with, under `maysaslclient` and `mustsaslclient`, where the keyword `authusername` gives none.",
    ),
    option(
        "AUTH_PASSWORD",
        OptionKind::Text,
        None,
        "The password that goes with it, where the keyword `authpassword` gives none. Let nobody read the file who should not.",
    ),
    option(
        "CONNECT_TIME",
        OptionKind::Text,
        Some("2"),
        "Minutes to wait for a connection to one address. A line that is dialled when it is wanted may take a minute to come up, and the \
         system asks again after 1, 3, 7, 15, 31 and 63 seconds: less than 64 seconds may end the wait just before the answer. While there is no route \
         to any address of a destination, all are tried again each second, for a minute at most.",
    ),
    option(
        "IDLE_TIME",
        OptionKind::Text,
        Some("0.083333"),
        "Minutes an idle connection is kept for the next message to the same destination; 0 closes at once.",
    ),
    option(
        "COMMAND_TRANSMIT_TIME",
        OptionKind::Text,
        Some("10"),
        "Minutes allowed for sending a group of commands.",
    ),
    option(
        "DATA_TRANSMIT_TIME",
        OptionKind::Text,
        Some("10"),
        "Minutes without any progress while a message is being sent. A message that moves, however slowly, is not cut.",
    ),
    option(
        "DOT_TRANSMIT_TIME",
        OptionKind::Text,
        Some("10"),
        "Minutes without progress allowed for the end of a message. It is sent together with the last of the message; the longer of this and DATA_TRANSMIT_TIME counts.",
    ),
    option(
        "STATUS_RECEIVE_TIME",
        OptionKind::Text,
        Some("10"),
        "Minutes to wait for the banner and for the replies to EHLO, HELO, ETRN, RSET and DATA.",
    ),
    option(
        "STATUS_MAIL_RECEIVE_TIME",
        OptionKind::Text,
        Some("10"),
        "Minutes to wait for the reply to MAIL.",
    ),
    option(
        "STATUS_RCPT_RECEIVE_TIME",
        OptionKind::Text,
        Some("10"),
        "Minutes to wait for the reply to each RCPT.",
    ),
    option(
        "STATUS_DATA_RECEIVE_TIME",
        OptionKind::Text,
        Some("10"),
        "Minutes to wait for the reply to a whole message, plus the three below. Too short means messages delivered twice (RFC 5321 section 4.5.3.2.6).",
    ),
    option(
        "STATUS_DATA_RECV_PER_ADDR_TIME",
        OptionKind::Text,
        Some("0.083333"),
        "Minutes added to STATUS_DATA_RECEIVE_TIME for each recipient.",
    ),
    option(
        "STATUS_DATA_RECV_PER_BLOCK_TIME",
        OptionKind::Text,
        Some("0.001666"),
        "Minutes added to STATUS_DATA_RECEIVE_TIME for each block of 1024 bytes.",
    ),
    option(
        "STATUS_DATA_RECV_PER_ADDR_PER_BLOCK_TIME",
        OptionKind::Text,
        Some("0.003333"),
        "Minutes added to STATUS_DATA_RECEIVE_TIME for each recipient times each block; together the additions end at an hour.",
    ),
    option(
        "TIMEOUT_MULTIPLIER",
        OptionKind::Integer,
        Some("60"),
        "Seconds in the unit that the times of this file are given in: 60 is minutes, 1 is seconds. Times that are not set keep their default in minutes.",
    ),
];
