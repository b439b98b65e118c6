//! Options of `option.dat` that PMDF and Messaging Server have and that change nothing here, by reason.
//!
//! A file that a site brings along may hold any of them; whoever reads the remarks about it wants to hear of slips, not of
//! options of parts that a hub does not have. Names are those of the PMDF System Manager's Guide, chapter 7, and of
//! Messaging Server's "Option File Options".
//!
//! # Not here
//! Options that act, or that have a type and a default worth checking (the parent).

/// Options that one reason holds for.
pub(crate) struct Unused {
    /// Why they change nothing; what they do elsewhere is in their names.
    pub(crate) why: &'static str,
    /// The names; `*` at the end stands for any characters.
    pub(crate) names: &'static [&'static str],
}

pub(crate) static UNUSED: &[Unused] = &[
    Unused {
        why: "No directory is asked.",
        names: &[
            "ALIAS_ENTRY_CACHE_SIZE",
            "ALIAS_ENTRY_CACHE_TIMEOUT",
            "ALIAS_ENTRY_CACHE_NEGATIVE",
            "ALIAS_MAGIC",
            "ALIAS_URL0",
            "ALIAS_URL1",
            "ALIAS_URL2",
            "ALIAS_URL3",
            "DOMAIN_MATCH_CACHE_SIZE",
            "DOMAIN_MATCH_CACHE_TIMEOUT",
            "DOMAIN_MATCH_URL",
            "LDAP_*",
            "REVERSE_ADDRESS_CACHE_SIZE",
            "REVERSE_ADDRESS_CACHE_TIMEOUT",
            "REVERSE_URL",
            "ROUTE_TO_ROUTING_HOST",
        ],
    },
    Unused {
        why: "There is no message store, and no accounts with options of their own.",
        names: &[
            "AUTOREPLY_TIMEOUT_DEFAULT",
            "DELIVERY_OPTIONS",
            "FORM_NAMES",
            "MAIL_DELIVERY_FILENAME",
            "MAIL_OFF",
            "USE_MAIL_DELIVERY",
            "VACATION_*",
        ],
    },
    Unused {
        why: "Messages are not filtered, converted or scanned here.",
        names: &[
            "FILTER_CACHE_SIZE",
            "FILTER_CACHE_TIMEOUT",
            "FILTER_DEBUG",
            "FILTER_DISCARD",
            "FILTER_JETTISON",
            "MAX_ADDHEADERS",
            "MAX_DUPLICATES",
            "MAX_FILEINTOS",
            "MAX_FORWARDS",
            "MAX_HEADER_BLOCK_USE",
            "MAX_HEADER_LINE_USE",
            "MAX_LIST_SIZE",
            "MAX_MIME_LEVELS",
            "MAX_MIME_PARTS",
            "MAX_NOTIFYS",
            "MAX_SIEVE_LIST_SIZE",
            "MAX_VACATIONS",
            "MAX_VARIABLES",
            "OPTIN_USER_CARRYOVER",
            "SPAMFILTER*",
            "STRICT_REQUIRE",
            "TEXT_TO_PS_*",
        ],
    },
    Unused {
        why: "Tables and files take the room that they need.",
        names: &[
            "ALIAS_SIZE",
            "CIRCUITCHECK_COMPLETED_BINS",
            "CIRCUITCHECK_PATHS_SIZE",
            "FORWARD_DATA_SIZE",
            "GENERAL_DATA_SIZE",
            "HEADER_LIMIT",
            "MAX_INTERNAL_BLOCKS",
            "MAX_URLS",
            "QUEUE_CACHE_MODE",
            "RETURN_CLEANUP_PERIOD",
            "RETURN_SPLIT_PERIOD",
            "RETURN_SYNCH_PERIOD",
            "REVERSE_DATA_SIZE",
            "STORED_MESSAGES",
        ],
    },
    Unused {
        why: "What is logged is chosen by `--log` and by the keywords of channels.",
        names: &["CACHE_DEBUG", "LOG_*", "MM_DEBUG", "OS_DEBUG", "RETURN_VERIFY", "SNDOPR_PRIORITY"],
    },
    Unused {
        why: "Notices have the form of RFC 3464, and go to the envelope sender.",
        names: &[
            "BOUNCE_BLOCK_LIMIT",
            "DELIVERY_RECEIPT_OFF",
            "DELIVERY_RECEIPT_ON",
            "NOTARY_DECODE",
            "NOTARY_QUOTE",
            "READ_RECEIPT_OFF",
            "READ_RECEIPT_ON",
            "RETURN_DELIVERY_HISTORY",
            "USE_ERRORS_TO",
            "USE_ORIG_RETURN",
            "USE_WARNINGS_TO",
        ],
    },
    Unused {
        why: "Text databases are used when they stand beside the main file.",
        names: &["NAME_TABLE_NAME", "USE_TEXT_DATABASES"],
    },
    Unused {
        why: "It concerns a part of the products that a hub does not have.",
        names: &[
            "ACCESS_COUNTS",
            "COMMENT_CHARS",
            "DEFER_GROUP_PROCESSING",
            "DEQUEUE_MAP",
            "EXPANDABLE_DEFAULT",
            "INCLUDE_CONVERSIONTAG",
            "MAX_MR_RECEIVED_LINES",
            "MAX_TOTAL_RECEIVED_LINES",
            "MAX_X400_RECEIVED_LINES",
            "OR_CLAUSES",
            "RECEIVED_VERSION",
            "SEPARATE_FROM_FIELDS",
            "UNIQUE_ID_TEMPLATE",
            "USE_CANONICAL_RETURN",
            "USE_PERMANENT_ERRORS",
            "USE_TEMPORARY_ERRORS",
        ],
    },
];

/// Why an option of the products changes nothing; `None` when neither has it, as far as is known.
pub(crate) fn why_unused(name: &str) -> Option<&'static str> {
    let is_it = |pattern: &&str| match pattern.strip_suffix('*') {
        Some(head) => name.len() > head.len() && name.starts_with(head),
        None => name == *pattern,
    };
    UNUSED.iter().find(|unused| unused.names.iter().any(&is_it)).map(|unused| unused.why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whole_or_by_their_beginning() {
        assert_eq!(why_unused("LDAP_SCHEMATAG"), Some("No directory is asked."));
        assert_eq!(why_unused("DELIVERY_OPTIONS"), Some(UNUSED[1].why));
        for stranger in ["LDAP_", "DELIVERY_OPTION", "MY_LDAP_HOST", ""] {
            assert_eq!(why_unused(stranger), None, "{stranger}");
        }
    }
}
