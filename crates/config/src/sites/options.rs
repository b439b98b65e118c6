//! The table of what may stand in `sites.cnf`: each option once, with its short and its long text.
//!
//! The reader, the commands that edit the file, their help and `docs/reference/sites.md` come from it.

/// The name of the file.
pub const SITE_FILE: &str = "sites.cnf";

/// In which section an option stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SiteSection {
    /// `[SITE=name]`.
    Site,
    /// `[ACTIVATOR=name]`.
    Activator,
}

impl SiteSection {
    /// Both.
    pub const ALL: [SiteSection; 2] = [SiteSection::Site, SiteSection::Activator];

    /// As it stands in the brackets.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SiteSection::Site => "SITE",
            SiteSection::Activator => "ACTIVATOR",
        }
    }
}

/// A row of the table.
#[derive(Debug)]
pub struct SiteOption {
    /// Where it stands.
    pub section: SiteSection,
    /// The name, upper case.
    pub name: &'static str,
    /// What stands right of the equals sign, in a few words.
    pub value: &'static str,
    /// The default, as an operator would say it.
    pub default: &'static str,
    /// Whether it may stand more than once; each line adds to those above.
    pub repeats: bool,
    /// What it does, in a line.
    pub help: &'static str,
    /// What somebody needs to know who writes it for the first time.
    pub long: &'static str,
}

const ONCE: bool = false;
const AGAIN: bool = true;

/// Every option of the file, in the order of the reference.
#[must_use]
pub fn site_options() -> &'static [SiteOption] {
    TABLE
}

/// The row of a name in a section, case aside.
pub(super) fn find(section: SiteSection, name: &str) -> Option<&'static SiteOption> {
    TABLE.iter().find(|option| option.section == section && option.name.eq_ignore_ascii_case(name))
}

/// Whether lines of that name add up, whatever the section.
pub(super) fn repeats(name: &str) -> bool {
    TABLE.iter().any(|option| option.repeats && option.name == name)
}

const fn site(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    repeats: bool,
    help: &'static str,
    long: &'static str,
) -> SiteOption {
    SiteOption { section: SiteSection::Site, name, value, default, repeats, help, long }
}

const fn activator(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    repeats: bool,
    help: &'static str,
    long: &'static str,
) -> SiteOption {
    SiteOption { section: SiteSection::Activator, name, value, default, repeats, help, long }
}

static TABLE: &[SiteOption] = &[
    site(
        "DOMAINS",
        "domains, with commas or blanks between them",
        "none",
        AGAIN,
        "The domains whose mail is the site's; `@example.com` stands for the domain and all below it.",
        "A request for one of the domains, or for the name of the site's queue, releases mail of these domains and of no other. A \
         domain belongs to one site. Where one site has `@example.com` and another `branch.example.com`, the longer name wins. A site \
         needs domains or a CHANNEL.",
    ),
    site(
        "QUEUE_NAME",
        "a name of letters, digits, `.`, `-` and `_`",
        "none",
        ONCE,
        "A name by which the site asks for its mail, with or without `#`.",
        "Clients that were told a queue name rather than a domain send `ETRN #name` or `ETRN name`. Up to 63 characters. A queue name that \
         is also the name of a channel would hide the channel, so `sluice check` warns of it.",
    ),
    site(
        "CHANNEL",
        "a channel",
        "wherever the rewrite rules send the domains",
        ONCE,
        "The channel in which the site's mail waits.",
        "Only mail in this channel is released then. Without DOMAINS, all that waits in the channel is the site's.",
    ),
    site(
        "LOGIN",
        "names, with commas or blanks between them",
        "none: whoever the channel lets ask",
        AGAIN,
        "Who may ask for the site's mail: names in the password file.",
        "With a login the queue is protected: without it, or with a wrong password, nothing moves. A login may own several sites. \
         `sluice password set NAME` gives it a password.",
    ),
    site(
        "TIER",
        "`none`, `static`, `dynamic` or `turned`",
        "`static` with a TARGET, otherwise `none`",
        ONCE,
        "How far the site is trusted, which is where its mail may go.",
        "`none`: to the mail exchangers of the domain, looked up at each release. `static`: to the TARGET. `dynamic`: to the address that \
         the request came from, when it was made with a login over TLS or by challenge and response; otherwise to the TARGET if there is \
         one, or to the mail exchangers. `turned`: back over the connection of the request, by ATRN. `dynamic` and `turned` need a \
         LOGIN, `static` needs a TARGET.",
    ),
    site(
        "TARGET",
        "a host name, or an address in brackets",
        "the mail exchangers of the domain",
        ONCE,
        "The host that the site's mail goes to.",
        "A name is looked up at each release, so a name of a dynamic name service is as good as a fixed address. Its address records \
         count, not its mail exchangers.",
    ),
    site(
        "PORT",
        "1–65535",
        "the channel's port",
        ONCE,
        "The port of the site's host.",
        "It holds for the TARGET, and for the address that a request came from. It does not go with `TIER=turned`.",
    ),
    site(
        "LIFETIME",
        "a length of time such as `30d`",
        "the channel's",
        ONCE,
        "How long the site's mail may wait before it is returned.",
        "It takes the place of the last number of the channel's `notices`. A ship that is at sea for weeks wants `LIFETIME=60d`.",
    ),
    site(
        "NOTICES",
        "lengths of time such as `3d, 10d`",
        "the channel's",
        ONCE,
        "Ages at which senders are told that their mail still waits.",
        "They take the place of the channel's `notices`. The last is the age at which mail is returned, unless there is a LIFETIME: then \
         all are warnings. They grow from left to right.",
    ),
    site(
        "WINDOW",
        "days and times of day: `mon-fri 22:00-06:00, sat, sun`",
        "always",
        AGAIN,
        "When the site's mail may be tried without being asked for.",
        "Outside of all windows nothing of the site is attempted on its own: neither new mail nor retries, nor the SCHEDULE. Who asks \
         (the site, an operator) gets mail at any time. Days are mon to sun, `weekdays`, `weekend` or `daily`; days without times are whole; \
         a window that ends before it begins goes on into the next day. Times are those of TIME_ZONE in option.dat.",
    ),
    site(
        "SCHEDULE",
        "a cron expression, an interval, or times: `every 2h`, `30 6 * * mon-fri`, `mon-fri 06:00, 18:00`",
        "none",
        AGAIN,
        "When the site's mail is released without being asked for.",
        "Mail that waits in a `periodic` channel, or for a site that never asks, goes out at these times. Several lines, or entries with `;` \
         between them, add up. A cron expression has minute, hour, day of the month, month and day of the week; `@hourly`, `@daily`, \
         `@weekly`, `@monthly` and `@yearly` are short for some. Intervals have moments that are fixed for each site, so that a restart \
         does not change them and sites do not all go at once. One moment that passed while no hub ran is made up for when it starts, unless the WINDOW is closed by then. Times are those of TIME_ZONE in option.dat.",
    ),
    site(
        "MAX_SIZE_IN_WINDOW",
        "bytes, with K, M or G",
        "no limit",
        ONCE,
        "Larger messages go only while a WINDOW is open.",
        "For a line that is dear by day and cheap by night: small messages go at every release, larger ones go when the next window opens, in a `periodic` channel too. The site's mail then goes smallest first, among messages \
         that are equally urgent, so that as many as may be are through when the line goes down. It needs a WINDOW.",
    ),
    site(
        "COUNTS",
        "`yes`, `some` or `no` (or 1, 0)",
        "`yes`",
        ONCE,
        "What the site is told of how much waits: how many messages, whether there are any, or nothing.",
        "`yes`: ETRN is answered with 251 or 253, which has the number. `some`: with 251 or 252. `no`: with 250 in any case. Strangers are never told.",
    ),
    site(
        "COVERS",
        "`name` or `site`",
        "`name`",
        ONCE,
        "`site`: who asks for one name of the site gets all that waits for it.",
        "For clients that give up at the first name for which nothing waits, as fetchmail does.",
    ),
    site(
        "ON_LINK_UP",
        "0 or 1",
        "0",
        ONCE,
        "1: `sluice trigger --on-link-up` releases the site's mail.",
        "The hooks in samples/link-up run that command when a line comes up.",
    ),
    activator(
        "SERVER",
        "a host name, or an address in brackets",
        "none: it must be there",
        ONCE,
        "The server that keeps mail for us.",
        "It is looked up each time. A server that is this hub itself is refused.",
    ),
    activator(
        "PORT",
        "1–65535",
        "25; 465 with `TLS=implicit`; 366 with `METHOD=atrn`",
        ONCE,
        "The port of the server.",
        "366 is the port of on-demand mail relay (RFC 2645).",
    ),
    activator(
        "NAMES",
        "names, with commas or blanks between them",
        "every name that we take mail for; with ATRN, all that the login may have",
        AGAIN,
        "What is asked for: domains, `@domain` for all below too, or `#queue`.",
        "The provider says which names it knows. They go over the wire as they stand here, one ETRN for each. With ATRN only domains can be \
         named.",
    ),
    activator(
        "LOGIN",
        "a name",
        "none",
        ONCE,
        "The name to log in with.",
        "It needs PASSWORD or PASSWORD_FILE. ATRN always needs a login.",
    ),
    activator(
        "PASSWORD",
        "text",
        "none",
        ONCE,
        "The password of the login.",
        "sites.cnf may then not be readable by everybody (`chmod 640`). PASSWORD_FILE keeps passwords apart.",
    ),
    activator(
        "PASSWORD_FILE",
        "a file; a relative one starts from the configuration folder",
        "none",
        ONCE,
        "A file whose first line is the password of the login.",
        "It may not be readable by everybody (`chmod 640`, owned by the account of the hub).",
    ),
    activator(
        "TLS",
        "`no`, `may`, `must` or `implicit`",
        "`may`",
        ONCE,
        "Whether the connection is protected.",
        "`may`: by STARTTLS when the server offers it. `must`: by STARTTLS with a good certificate, or nothing is asked. `implicit`: from the \
         first octet on. Passwords go over the wire in clear under TLS only.",
    ),
    activator(
        "METHOD",
        "`etrn` or `atrn`",
        "`etrn`",
        ONCE,
        "How the server is asked.",
        "`etrn` (RFC 1985): the server then connects to us, so that we need a listener that it can reach. `atrn` (RFC 2645): the mail comes \
         over the connection that we opened, after a login.",
    ),
    activator(
        "CHANNEL",
        "a channel",
        "that of the first service in dispatcher.cnf",
        ONCE,
        "The channel by which the server's mail comes in, with `METHOD=atrn`.",
        "The mail comes over the connection that we opened, so that no listener says which channel it is on. With a channel of its own \
         the mail of a provider has its own rules, access tables and limits; `switchchannel` on it counts as on a listener's. With \
         `METHOD=etrn` the server connects to a listener, whose channel it is then.",
    ),
    activator(
        "SCHEDULE",
        "a cron expression, an interval, or times: `every 30m`, `0 * * * *`, `weekdays 08:00, 13:00`",
        "none: only by command",
        AGAIN,
        "When the server is asked.",
        "As SCHEDULE of a site; a moment at which the server could not be asked is made up for at the next start too. Without it the server is asked by `sluice activator run`, and with ON_LINK_UP when a line comes up.",
    ),
    activator(
        "WINDOW",
        "days and times of day",
        "always",
        AGAIN,
        "When the schedule counts.",
        "As WINDOW of a site: outside of all windows the schedule is passed over.",
    ),
    activator(
        "ON_LINK_UP",
        "0 or 1",
        "0",
        ONCE,
        "1: `sluice trigger --on-link-up` asks the server.",
        "The hooks in samples/link-up run that command when a line comes up.",
    ),
    activator(
        "WATCH",
        "a length of time such as `10m`",
        "10m",
        ONCE,
        "How soon mail must come after the server said that some waits.",
        "When the server answered 252 or 253 and nothing has come in that time, something is wrong between it and us, and the log says so.",
    ),
];
