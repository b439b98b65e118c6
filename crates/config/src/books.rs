//! Where the books describe a keyword, so that `sluice explain` can send its reader there.
//!
//! Two books have all of them: the PMDF System Manager's Guide (its section 2.3.4, whose table 2-5 lists PMDF's
//! keywords and whose subsections explain them) and the Messaging Server books (chapter 12 of the Administration Guide
//! explains, the Administration Reference lists). Numbers are those of PMDF 6.7 and of Messaging Server 6.3; they move a
//! little from edition to edition, titles do not.
//!
//! # Not here
//! What a keyword does: that is its row of the table in [`crate::keyword`].

use crate::keyword::{KeywordInfo, Origin};

/// The subsections of PMDF's section 2.3.4 that stand for a group of keywords: number, what they are about, and each
/// keyword or `group:NAME`.
const PMDF: &[(&str, &str, &[&str])] = &[
    (
        "2.3.4.1",
        "address types and conventions",
        &[
            "733",
            "822",
            "uucp",
            "bangstyle",
            "percents",
            "sourceroute",
            "header_733",
            "header_822",
            "header_uucp",
        ],
    ),
    ("2.3.4.2", "address interpretation", &["bangoverpercent", "nobangoverpercent"]),
    ("2.3.4.3", "routing information in addresses", &["exproute", "noexproute", "improute", "noimproute"]),
    ("2.3.4.7", "channel directionality", &["master", "slave", "bidirectional"]),
    (
        "2.3.4.9",
        "channel service periodicity",
        &["immediate", "immnonurgent", "immnormal", "immurgent", "periodic", "period"],
    ),
    (
        "2.3.4.11",
        "priorities of periodic service",
        &[
            "minperiodicnonurgent",
            "minperiodicnormal",
            "minperiodicurgent",
            "maxperiodicnonurgent",
            "maxperiodicnormal",
            "maxperiodicurgent",
        ],
    ),
    (
        "2.3.4.13",
        "channel connection information caching",
        &["cacheeverything", "cachefailures", "cachesuccesses", "nocache"],
    ),
    ("2.3.4.14", "addresses and files for each service job", &["addrsperjob", "filesperjob", "maxjobs"]),
    ("2.3.4.15", "multiple addresses", &["addrsperfile", "multiple", "single", "single_sys"]),
    ("2.3.4.16", "expansion of multiple addresses", &["expandlimit", "expandchannel", "holdlimit"]),
    ("2.3.4.18", "service job delays", &["after"]),
    (
        "2.3.4.20",
        "undeliverable message notification times",
        &["notices", "nonurgentnotices", "normalnotices", "urgentnotices"],
    ),
    ("2.3.4.21", "returned messages", &["sendpost", "nosendpost", "copysendpost", "errsendpost"]),
    ("2.3.4.22", "warning messages", &["warnpost", "nowarnpost", "copywarnpost", "errwarnpost"]),
    (
        "2.3.4.34",
        "receiving an SMTP ETRN command",
        &["allowetrn", "blocketrn", "disableetrn", "domainetrn", "silentetrn"],
    ),
    (
        "2.3.4.38",
        "TCP/IP nameserver and MX record support",
        &["mx", "nomx", "nodns", "defaultmx", "randommx", "nonrandommx", "nameservers", "defaultnameservers"],
    ),
    (
        "2.3.4.42",
        "alternate channels for incoming mail",
        &["switchchannel", "allowswitchchannel", "noswitchchannel"],
    ),
    (
        "2.3.4.43",
        "SMTP authentication and SASL",
        &[
            "maysasl",
            "maysaslserver",
            "mustsasl",
            "mustsaslserver",
            "nosasl",
            "nosaslserver",
            "saslswitchchannel",
            "nosaslswitchchannel",
        ],
    ),
    ("2.3.4.44", "authenticated addresses in the header", &["authrewrite", "noauthrewrite"]),
    (
        "2.3.4.45",
        "transport layer security",
        &[
            "maytls",
            "maytlsclient",
            "maytlsserver",
            "musttls",
            "musttlsclient",
            "musttlsserver",
            "notls",
            "notlsclient",
            "notlsserver",
            "tlsswitchchannel",
        ],
    ),
    (
        "2.3.4.47",
        "host name for incomplete addresses",
        &["defaulthost", "nodefaulthost", "remotehost", "noremotehost"],
    ),
    ("2.3.4.48", "messages without recipient header lines", &["missingrecipientpolicy"]),
    ("2.3.4.51", "character set labelling", &["charset7", "charset8", "charsetesc"]),
    ("2.3.4.55", "address reversal", &["reverse", "noreverse"]),
    ("2.3.4.57", "restricted mailbox encoding", &["restricted", "norestricted", "unrestricted"]),
    (
        "2.3.4.59",
        "trimming message header lines",
        &["headertrim", "noheadertrim", "headerread", "noheaderread", "innertrim", "noinnertrim"],
    ),
    ("2.3.4.63", "postmaster messages of a channel", &["aliaspostmaster"]),
    (
        "2.3.4.67",
        "comments in address header lines",
        &[
            "commentinc",
            "commentomit",
            "commentstrip",
            "commenttotal",
            "sourcecommentinc",
            "sourcecommentomit",
            "sourcecommentstrip",
            "sourcecommenttotal",
        ],
    ),
    ("2.3.4.69", "alias file and alias database probes", &["aliaslocal"]),
    ("2.3.4.78", "message size limits", &["blocklimit", "noblocklimit", "linelimit", "nolinelimit"]),
    (
        "2.3.4.87",
        "mail filters",
        &[
            "channelfilter",
            "nochannelfilter",
            "destinationfilter",
            "nodestinationfilter",
            "sourcefilter",
            "nosourcefilter",
            "filter",
            "nofilter",
            "fileinto",
            "nofileinto",
        ],
    ),
    (
        "2.3.4.93",
        "acceptance of recipients in the SMTP dialogue",
        &["acceptalladdresses", "acceptvalidaddresses"],
    ),
    ("2.3.4.95", "addresses of VMS MAIL's To and Cc lines", &["addlineaddrs", "noaddlineaddrs"]),
];

/// Sections of the Messaging Server Administration Guide that say more than the section of the whole area.
const MESSAGING_SERVER: &[(&str, &str, &[&str])] = &[
    ("12.4.3.5", "TCP/IP MX Record Support", &["mx", "nomx", "defaultmx", "randommx", "nonrandommx"]),
    (
        "12.4.3",
        "TCP/IP Connection and DNS Lookup Support",
        &[
            "port",
            "interfaceaddress",
            "nameservers",
            "defaultnameservers",
            "lastresort",
            "cacheeverything",
            "cachefailures",
            "cachesuccesses",
            "nocache",
            "forwardcheckdelete",
            "forwardchecknone",
            "forwardchecktag",
            "identnone",
            "identnonelimited",
            "identnonenumeric",
            "identnonesymbolic",
            "identtcp",
            "identtcplimited",
            "identtcpnumeric",
            "identtcpsymbolic",
            "daemon",
            "single",
            "single_sys",
            "switchchannel",
            "allowswitchchannel",
            "noswitchchannel",
            "authrewrite",
        ],
    ),
    ("12.5.1", "Setting Channel Directionality", &["master", "slave", "bidirectional"]),
    ("12.10", "File Creation in the MTA Queue", &["addrsperfile", "multiple", "subdirs", "expandlimit"]),
    ("12.12.2", "Channel Operation Type", &["submit"]),
];

/// The section of the Messaging Server Administration Guide that an area belongs to.
fn of_area(area: &str) -> &'static str {
    match area {
        "smtp" => "section 12.4.2, SMTP Command and Protocol Support",
        "security" => "section 12.4, Configuring SMTP Channels",
        "delivery scheduling" => "section 12.5, Configuring Message Processing and Delivery",
        "routing" | "rewriting" => "section 12.6, Configuring Address Handling",
        "headers" => "section 12.7, Configuring Header Handling",
        "mime & character sets" => "section 12.8, Attachments and MIME Processing",
        "sizes & limits" => {
            "section 12.9, Limits on Messages, Quotas, Recipients, and Authentication Attempts"
        }
        "logging" => "section 12.11, Configuring Logging and Debugging",
        "notifications" => {
            "chapter 10, About MTA Services and Configuration, on delivery status notifications"
        }
        _ => "section 12.12, Miscellaneous Keywords",
    }
}

fn exact(
    table: &'static [(&'static str, &'static str, &'static [&'static str])],
    keyword: &str,
) -> Option<(&'static str, &'static str)> {
    let (number, title, _) = table.iter().find(|(_, _, keywords)| keywords.contains(&keyword))?;
    Some((number, title))
}

/// Book and section for a keyword: one line for each product whose word it is, PMDF first.
#[must_use]
pub fn sources(info: &KeywordInfo) -> Vec<String> {
    let mut lines = Vec::new();
    if matches!(info.origin, Origin::Pmdf | Origin::Both) {
        let section = exact(PMDF, info.name).map_or_else(
            || "section 2.3.4, Channel/Host Table Keywords (table 2-5)".to_owned(),
            |(number, title)| format!("section {number}, {title}"),
        );
        lines.push(format!("PMDF System Manager's Guide, {section}"));
    }
    if matches!(info.origin, Origin::Oracle | Origin::Both) {
        let section = exact(MESSAGING_SERVER, info.name).map_or_else(
            || of_area(info.area).to_owned(),
            |(number, title)| format!("section {number}, {title}"),
        );
        lines.push(format!(
            "Messaging Server Administration Guide, {section}; Administration Reference, Channel Configuration Keywords"
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keyword::{keyword, keywords};

    #[test]
    fn every_word_of_the_tables_of_books_is_a_keyword_of_that_product_and_stands_there_once() {
        for (table, others) in [(PMDF, Origin::Oracle), (MESSAGING_SERVER, Origin::Pmdf)] {
            let mut seen = std::collections::BTreeSet::new();
            for word in table.iter().flat_map(|(_, _, words)| *words) {
                let info = keyword(word).unwrap_or_else(|| panic!("{word}"));
                assert_ne!(info.origin, others, "{word}");
                assert!(seen.insert(word), "{word} stands there twice");
            }
        }
    }

    #[test]
    fn every_keyword_has_a_source_of_each_product_that_knows_it() {
        for info in keywords() {
            let books = match info.origin {
                Origin::Pmdf | Origin::Oracle => 1,
                Origin::Both => 2,
                Origin::Ours => 0,
            };
            assert_eq!(sources(info).len(), books, "{}", info.name);
        }
    }

    #[test]
    fn the_most_exact_section_is_named() {
        let of = |word| sources(keyword(word).unwrap());
        assert_eq!(
            of("nomx"),
            [
                "PMDF System Manager's Guide, section 2.3.4.38, TCP/IP nameserver and MX record support",
                "Messaging Server Administration Guide, section 12.4.3.5, TCP/IP MX Record Support; \
                 Administration Reference, Channel Configuration Keywords",
            ]
        );
        assert_eq!(
            of("foreign"),
            ["PMDF System Manager's Guide, section 2.3.4, Channel/Host Table Keywords (table 2-5)"]
        );
        assert_eq!(
            of("wrapsmtplonglines"),
            ["Messaging Server Administration Guide, section 12.4.2, SMTP Command and Protocol Support; \
              Administration Reference, Channel Configuration Keywords"]
        );
    }
}
