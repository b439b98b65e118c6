//! The kinds of remark about rewrite rules, each with its explanation.

use sluice_diag::{Code, Severity};

/// All codes of this crate, for `sluice explain`.
pub fn codes() -> &'static [&'static Code] {
    &CODES
}

static CODES: [&Code; 28] = [
    &UNKNOWN_SEQUENCE,
    &UNCLOSED,
    &NO_NAME,
    &SHAPE,
    &ODD_USER,
    &ASTERISK,
    &UNKNOWN_CHANNEL,
    &NO_CHANNEL_HOST,
    &UNREACHABLE,
    &TAG_TOO_LONG,
    &NEVER_APPLIES,
    &NOT_AVAILABLE,
    &NO_DATABASE,
    &DOMAIN_DATABASE,
    &ALIAS_NOWHERE,
    &ALIAS_LOOP,
    &NO_POSTMASTER,
    &DOLLAR_COMMA,
    &BLANK,
    &MACRO,
    &ERROR_TEXT,
    &TOO_LONG,
    &UNKNOWN_PATTERN,
    &CANNOT_MATCH,
    &TAG_NEVER_TESTED,
    &TAG_NEVER_SET,
    &ENDLESS,
    &CHANNEL_NOT_REACHED,
];

pub(crate) static UNKNOWN_SEQUENCE: Code = Code {
    name: "rewrite-unknown-sequence",
    severity: Severity::Error,
    summary: "a `$` sequence that rewrite templates do not have",
    explanation: "In a template, `$` begins a substitution such as `$U` or `$H`, or a control such as `$M` or `$?`. This one has no \
meaning, so the rule could only do something else than what was meant.\n\nWrite `$$` for a dollar sign, `$%` for a percent sign and `$@` \
for an at sign. `$&`, `$!`, `$*` and `$#` want a digit behind them. The same letters mean other things in mapping tables.",
};

pub(crate) static UNCLOSED: Code = Code {
    name: "rewrite-unclosed-lookup",
    severity: Severity::Error,
    summary: "a look-up in a template is not closed",
    explanation: "`$(text)` asks the general database, `${mapping,text}` a mapping table, `$[image,routine,text]` a routine, `$]url[` a \
directory and `$.text.` sets what a temporary failure gives. Each needs its closing character; the first one found ends it.",
};

pub(crate) static NO_NAME: Code = Code {
    name: "rewrite-missing-name",
    severity: Severity::Error,
    summary: "a control that needs a name has none",
    explanation: "`$M`, `$N`, `$Q` and `$C` are followed by a channel name, `$T` by a tag, `$V` and `$Z` by a domain. The name ends at `@`, \
`%`, the next of these controls, `$?`, `$~`, or the end of the template; so it is best written last.",
};

pub(crate) static SHAPE: Code = Code {
    name: "rewrite-template-shape",
    severity: Severity::Warning,
    summary: "the parts of a template make no address and routing system",
    explanation: "A template is one of `A%B@C` (address A@B by routing system C), `A@B` (the same with C = B), `A%B` (A@B, rewritten \
again), `A@B@C` and `A@B@C@D` (a source route in front), or `$?text` alone. Anything else, and an empty B, C or D, makes the rule fail each \
time, as if it were not there.\n\nOnly `%` and `@` written in the template separate; `$%` and `$@` are characters of the address.",
};

pub(crate) static ASTERISK: Code = Code {
    name: "rewrite-asterisk-not-leading",
    severity: Severity::Warning,
    summary: "an asterisk stands where no host is ever compared with one",
    explanation: "Hosts are compared with patterns as text. Before that, whole labels are replaced by `*` from the left: `a.b.c` is tried \
as `*.b.c`, `*.*.c` and `*.*.*`. A pattern such as `a.*.com` or `a*.com` therefore never matches.\n\n`*` matches one label exactly; to match \
any number of labels begin the pattern with a dot: `.b.c`.",
};

pub(crate) static ODD_USER: Code = Code {
    name: "rewrite-odd-user",
    severity: Severity::Warning,
    summary: "the user part of a template lacks a sign",
    explanation: "`U%$H@host` sends mail for everybody to the mailbox `U`, as a word without `$` stands for itself; `$U$D@host` makes one word of user \
and host. Both are allowed and hardly ever meant: write `$U`, and `%` between user and host.",
};

pub(crate) static UNKNOWN_CHANNEL: Code = Code {
    name: "rewrite-unknown-channel",
    severity: Severity::Warning,
    summary: "a channel check names no channel",
    explanation: "`$M`, `$N`, `$Q` and `$C` compare channel names, the first word of a channel block; they do not compare host names. No \
block has the name written here, so `$M` and `$Q` never hold and `$N` and `$C` always do. `*` stands for any characters.",
};

pub(crate) static NO_CHANNEL_HOST: Code = Code {
    name: "rewrite-no-channel-host",
    severity: Severity::Warning,
    summary: "the routing system of a template is no host of any channel",
    explanation: "The last part of a template is looked up among the official host names and the further host names of all channel blocks. \
It is not rewritten again, and when it is not found the address is refused at once: no other rule is tried. That may be intended, to stop \
unknown hosts of a domain; a template that gives its own reason with `$?` says so, and gets no warning.",
};

pub(crate) static UNREACHABLE: Code = Code {
    name: "rewrite-unreachable-rule",
    severity: Severity::Warning,
    summary: "a rule that is never tried",
    explanation: "Rules with the same pattern are tried in the order of the file. One that stands above this one has no control and no \
substitution that can fail, so it always applies. Put the rule with conditions first.\n\nThe pattern `$*` is asked before all others, wherever \
it stands: with a rule for it that always applies, no other is tried.",
};

pub(crate) static TAG_TOO_LONG: Code = Code {
    name: "rewrite-tag-too-long",
    severity: Severity::Error,
    summary: "a tag is longer than 32 characters",
    explanation: "The tag that `$T` sets is put in front of every pattern that is asked for afterwards. 32 characters are the limit.",
};

pub(crate) static NEVER_APPLIES: Code = Code {
    name: "rewrite-never-applies",
    severity: Severity::Warning,
    summary: "controls of a rule exclude each other",
    explanation: "`$E` asks for an envelope address and `$B` for one from the header; `$F` for one that points forward and `$R` for one that \
points backward. Each fails for the other kind, so a rule with both never applies. Leave both out to take either.",
};

pub(crate) static NOT_AVAILABLE: Code = Code {
    name: "rewrite-lookup-not-available",
    severity: Severity::Warning,
    summary: "a look-up that this version does not do",
    explanation: "Templates may ask a directory for text. This version reads such templates and \
skips their rules, as if nothing had been found: a rule below, or with a more general pattern, takes the address.",
};

pub(crate) static NO_DATABASE: Code = Code {
    name: "rewrite-no-database",
    severity: Severity::Warning,
    summary: "a template asks the general database, and there is none",
    explanation: "`$(text)` puts in the value that the general database has for *text*; without a value the rule is skipped. The database \
is the file `general.txt` beside the main file, or what `sluice compile` made of it, `general.db`.",
};

pub(crate) static DOMAIN_DATABASE: Code = Code {
    name: "rewrite-domain-database",
    severity: Severity::Warning,
    summary: "an entry of the domain database never applies",
    explanation: "Each entry of `domain.txt` is a rewrite rule: a pattern, blanks, a template in the language of the rules. It is asked \
behind the rules of the configuration, and only for patterns without an asterisk. An entry whose pattern holds an asterisk, or whose template has a \
mistake, is never used.",
};

pub(crate) static DOLLAR_COMMA: Code = Code {
    name: "rewrite-dollar-comma",
    severity: Severity::Warning,
    summary: "`$,` is taken as the end of the part it stands in",
    explanation: "Some generated rules hold `$,`, whose meaning is not documented. It is taken as the end of the part: what follows it up \
to the next `%` or `@` is left out.",
};

pub(crate) static BLANK: Code = Code {
    name: "rewrite-blank-in-template",
    severity: Severity::Warning,
    summary: "a blank inside a template",
    explanation: "The template is all that follows the pattern on its line, blanks included: they become part of a user or host, which then \
matches nothing. Only the text behind `$?` may hold blanks. A comment has a line of its own, with `!` in column one, and so has \
each rule.",
};

pub(crate) static MACRO: Code = Code {
    name: "rewrite-macro-not-supported",
    severity: Severity::Error,
    summary: "a macro of another configuration format",
    explanation: "`&/NAME/` belongs to the XML form of the configuration and is replaced there before rules are read. Write the value in \
its place.",
};

pub(crate) static ERROR_TEXT: Code = Code {
    name: "rewrite-error-text",
    severity: Severity::Warning,
    summary: "the text behind `$?` is probably not what was meant",
    explanation: "When a template is nothing but `$?text`, the text runs to the end of the line, and whatever looks like a control in it is \
part of the text; controls go in front. The text becomes part of an SMTP reply and must be plain ASCII.",
};

pub(crate) static TOO_LONG: Code = Code {
    name: "rewrite-rule-too-long",
    severity: Severity::Warning,
    summary: "a part of a rule is longer than 252 characters",
    explanation: "PMDF and Messaging Server keep at most 252 characters of a pattern or template. It works here; a configuration that is \
shared with them should be shorter.",
};

pub(crate) static UNKNOWN_PATTERN: Code = Code {
    name: "rewrite-pattern-never-asked",
    severity: Severity::Warning,
    summary: "a special pattern that is never asked for",
    explanation: "The patterns that begin with `$` are `$*` (before all others), `$%` and `$!` (for hosts in the local part that failed in \
every other way). No other is ever asked for.",
};

pub(crate) static CANNOT_MATCH: Code = Code {
    name: "rewrite-pattern-cannot-match",
    severity: Severity::Warning,
    summary: "a pattern that is like no host",
    explanation: "Patterns are compared with the host of an address alone: `example.com` is that host, `.example.com` any host under it, \
`[10.1.]` a literal that begins so, `[]` any literal, `.` everything. A pattern with an `@`, with an empty label or with a number above 255 \
is never found, and addresses that were meant for it go by another rule or are refused.",
};

pub(crate) static TAG_NEVER_TESTED: Code = Code {
    name: "rewrite-tag-never-tested",
    severity: Severity::Warning,
    summary: "a tag is set that no pattern begins with",
    explanation: "`$Ttag|` puts its text in front of everything that is compared with patterns from then on, until the address is finished. \
Where no pattern begins with that text no rule matches any more, not even `.`: the address is looked up as it is, and mostly refused.\n\n\
Write rules for the tag, `tag|.` at least, or take it out.",
};

pub(crate) static TAG_NEVER_SET: Code = Code {
    name: "rewrite-tag-never-set",
    severity: Severity::Warning,
    summary: "a pattern begins with a tag that no rule sets",
    explanation: "A pattern with `|` in it is found only when a rule before has put that text in front with `$T`; no host holds the character \
itself. No template here sets this tag, so the rule is never used. A slip in the tag, here or behind `$T`, is the usual reason.",
};

pub(crate) static ENDLESS: Code = Code {
    name: "rewrite-endless",
    severity: Severity::Warning,
    summary: "rules send an address round for ever",
    explanation: "A template of the form `A%B` rewrites the address with its new host from the start. Here the way leads back to the same rule \
without any condition that could end it; those about direction, position and channels are the same at every turn. The address is \
refused after 32 turns. `A@B` ends the way, and so does `A%B@C`, where C is the host of a channel.",
};

pub(crate) static CHANNEL_NOT_REACHED: Code = Code {
    name: "rewrite-channel-not-reached",
    severity: Severity::Info,
    summary: "no rule sends mail to a channel",
    explanation: "Mail comes to a channel when a template ends with one of its hosts, or when an address names one of its hosts and no rule takes \
that name. Neither is so here: no template ends with a host of the channel, and addresses with these hosts are taken by another rule. The channel may \
still be where sessions begin, when `dispatcher.cnf` or another channel says so; otherwise nothing is ever queued to it.",
};

pub(crate) static ALIAS_LOOP: Code = Code {
    name: "rewrite-alias-loop",
    severity: Severity::Warning,
    summary: "aliases lead to each other",
    explanation: "Expansion ends where an alias comes back: the name is a plain mailbox of the local channel there, and who of them gets the mail \
depends on which name was asked first. An alias that names itself among its addresses means just that mailbox, and is not reported. Write where the \
mail shall end: the address at another host, or the name itself beside the other.",
};

pub(crate) static NO_POSTMASTER: Code = Code {
    name: "rewrite-no-postmaster",
    severity: Severity::Warning,
    summary: "the postmaster of this host gets no mail",
    explanation: "With `viaaliasrequired` a channel takes mail only for addresses that an alias leads to. There is none for `postmaster` at the \
local host, so what is written to it is refused, copies of notices among it. RFC 5321, section 4.5.1, asks every host to take such mail.",
};

pub(crate) static ALIAS_NOWHERE: Code = Code {
    name: "rewrite-alias-goes-nowhere",
    severity: Severity::Warning,
    summary: "an address of an alias belongs to no channel",
    explanation: "The address is refused by the rewrite rules, whichever channel the mail comes from. The other addresses of the alias get \
their copies and this one gets none; an alias of which no address is left is refused.",
};
