//! Every kind of diagnostic that reading a configuration can give, with its explanation.
//!
//! Phrases that PMDF's own tools use for the same condition are kept in the messages (`no official host name for
//! channel`, `duplicate host in channel table`, …), since operators search for them.

use sluice_diag::{Code, Severity};

macro_rules! codes {
    ($($id:ident $severity:ident $name:literal $summary:literal $explanation:literal)*) => {
        $(pub(crate) static $id: Code = Code {
            name: $name,
            severity: Severity::$severity,
            summary: $summary,
            explanation: $explanation,
        };)*
        static ALL: &[&Code] = &[$(&$id),*];
    };
}

/// Every code of this crate.
#[must_use]
pub fn codes() -> &'static [&'static Code] {
    ALL
}

codes! {
    BAD_HEADER_OPTION Error "bad-header-option"
        "a line of a header option file cannot be read"
        "A header option file has the name of a header line, a colon, and options with commas between them: \
         `Received: MAXIMUM=-1`, `Organization: FILL=\"Example\"`. A line that begins with a blank goes on with the one above."
    UNKNOWN_HEADER_OPTION Warning "unknown-header-option"
        "an option in a header option file does nothing"
        "There are ADD, FILL, GROUP, LINELENGTH, MAXCHARS, MAXIMUM, MAXLINES, PRECEDENCE and RELABEL. ADD and FILL make a header line \
         of the name in front of the colon, which `Defaults:` and `Other:` do not have."
    NO_SUCH_FILTER Warning "no-such-filter"
        "a channel asks for a filter that option.dat does not name"
        "`sourcespamfilterN` and `destinationspamfilterN` show mail to the plugin that `SPAMFILTERN_LIBRARY` names. Without that line the \
         mail passes as it is, which is also how a filter is switched off for a while."
    FILTER_CANNOT_WAIT Warning "filter-cannot-wait"
        "mail is to wait for a filter, and there is no channel for that"
        "With 3 or 4 as `SPAMFILTERN_OPTIONAL` mail about which the filter has no verdict is taken, and waits on the channel `reprocess`, which shows \
         it to the filter again. Without a channel of that name, carried by the plugin `reprocess`, such mail is refused for now (451), as with 0."
    HEADER_OPTIONS_MISSING Warning "header-options-missing"
        "a channel asks for a header option file that is not there"
        "`headertrim` reads `CHANNEL_headers.opt` and `headerread` reads `CHANNEL_read_headers.opt`, in the configuration folder. Without \
         the file the headers stay as they are."
    NOT_AN_ALIAS Error "not-an-alias"
        "a line of the alias file is no alias"
        "Each line of the file `aliases` is `name: address, address`. A line that goes on with the one above needs `,\\` at the end \
         of that one; a name with a blank in it stands in quotes."
    BLANK_BEFORE_COLON Error "blank-before-alias-colon"
        "blanks stand between an alias and its colon"
        "PMDF takes the blank for a part of the name, which then never matches. Write the colon directly behind the name."
    ALIAS_TOO_LONG Warning "alias-too-long"
        "the name or an address of an alias is longer than the products read"
        "PMDF and Messaging Server read 60 characters of a name and 252 of an address. It works here; files that are shared with \
         them should be shorter."
    DUPLICATE_ALIAS Warning "duplicate-alias"
        "duplicate aliases found"
        "A name stands in the alias file, or in what it includes, twice. The first one counts. Names are compared without case."
    ALIAS_PROGRAM Warning "alias-program-or-file"
        "an alias names a program or a file"
        "`|program` and `/file` are words of other mail systems. Here they are names of mailboxes, as in PMDF, and mail to them \
         fails. Programs are run by a channel that does so (PMDF's is `pipe`); write an address of such a channel, or of a mailbox."
    ALIAS_WITHOUT_ADDRESSES Error "alias-without-addresses"
        "no equivalence addresses for alias"
        "Nothing stands behind the colon, so mail for the alias would go nowhere. To throw mail away on purpose, give it an \
         address on the bitbucket channel."
    BAD_ALIAS_ADDRESS Error "bad-alias-address"
        "bad equivalence for alias"
        "What an alias stands for is a list of addresses, separated by commas: `user`, `user@host`, `@route:user@host`, or \
         `<file` for a file with one address a line. One of them is none of these."
    CANNOT_OPEN_ALIAS_FILE Error "cannot-open-alias-file"
        "cannot open alias include file"
        "A file that the alias file includes, or a list that an alias names with `<file` or `[AUTH_LIST] file`, cannot be read. \
         Names are relative to the configuration folder, and the account of the hub must be able to read them."
    ALIAS_FROM_DIRECTORY Error "alias-from-directory"
        "an alias asks a directory"
        "The value `\"<ldap:…>\"` takes the addresses from an LDAP directory. Sluice asks none: write the addresses into a file, \
         anew whenever the directory changes, and name it with `<file`."
    UNKNOWN_ALIAS_PARAMETER Warning "unknown-alias-parameter"
        "a bracketed name behind a list is not known"
        "Lists take named parameters: `[ENVELOPE_FROM]`, `[ERRORS_TO]`, `[AUTH_LIST]`, `[CANT_LIST]`, `[HOLD_LIST]`, `[NOHOLD_LIST]`, \
         `[ERROR_TEXT]` and others. This one is ignored."
    BAD_ALIAS_PARAMETER Error "bad-alias-parameter"
        "a parameter of a list has no value, or a wrong one"
        "`[ENVELOPE_FROM]`, `[ERRORS_TO]` and `[MODERATOR_ADDRESS]` take an address, `[BLOCKLIMIT]` and `[LINELIMIT]` a number, the lists of \
         senders a file."
    ALIAS_PARAMETER_WITHOUT_EFFECT Info "alias-parameter-without-effect"
        "a parameter of a list that changes nothing here"
        "The parameter belongs to a part of PMDF that a relay does not have; the message says which. Mail for the list goes out as \
         if it were not there."
    ALIAS_POSITIONAL Info "alias-positional-parameter"
        "an address behind a list is no member"
        "`name: <file, address` does not add a member: in PMDF what follows a list, separated by commas, is by its place the address \
         for errors (the envelope sender of the copies), for answers, for errors in the header, for warnings, and a comment; `*` leaves a \
         place out. Members go into the list file or in front of the `<`; `\"<file\", address` adds one too."
    ALIAS_CONTINUATION Warning "alias-continuation"
        "a continued line of the alias file does not end with a comma"
        "PMDF continues a line of the alias file only where `\\` follows a comma. It works here; a file that is shared with PMDF \
         needs the comma."
    ALIAS_NEVER_ASKED Warning "alias-never-found"
        "an alias has a form that is not looked up"
        "The option `ALIAS_DOMAINS` says in which forms an address is looked up: 1 its local part alone, 2 the whole address, 4 \
         `*@host`, or a sum of these. This name has a form that is not among them."
    DUPLICATE_DATABASE_KEY Warning "duplicate-database-key"
        "a key stands in a text database twice"
        "A key has one value, so only the first entry is ever found. Keys are compared without case."
    DATABASE_ENTRY_WITHOUT_VALUE Warning "database-entry-without-value"
        "a line of a text database has a key and no value"
        "Each line holds a key, blanks, and the value. An entry without a value is left out, so that asking for it fails as \
         if it were not there. A value that goes on in the next line needs `\\` as the last character of the first."
    DATABASE_KEY_WITH_COLON Warning "database-key-with-colon"
        "a key in a text database ends with a colon"
        "A line of a text database is a key, blanks, and the value; the colon behind a name belongs to the alias file. Here it is part of the \
         key, and no address or host that is looked up has it. The database `general` may hold such keys, since templates ask it for anything."
    DATABASE_ENTRY_TOO_LONG Warning "database-entry-too-long"
        "a key or value in a text database has more than 252 characters"
        "PMDF and Messaging Server keep at most 252 characters of an address or a part of a rule. It works here; files that \
         are shared with them should be shorter."
    BAD_COMPILED_DATABASE Warning "bad-compiled-database"
        "a compiled database is damaged or of another version"
        "`sluice compile` writes each text database as one file, NAME.db, which is used while it is newer than NAME.txt. This \
         one cannot be used; the text is read in its place, if there is one. Run `sluice compile` again.\n\n\
         `sluice check` looks at all of the file. A hub that starts looks at its beginning, so that a large one costs nothing to \
         open; an entry that turns out to be damaged later makes the mail that asks for it wait."
    DATABASE_NOT_MAPPED Warning "database-not-mapped"
        "a compiled database was read into memory, because others may write to it"
        "A compiled database is mapped: its pages are read when they are asked for, and shared. Whoever cuts a mapped file short \
         ends the program that has mapped it, so that is done only with a file that nobody but root and the user who runs the hub may \
         write. This one is whole and is used, but all of it is held in memory, and reading it takes longer.\n\n\
         `sluice compile`, run by the user of the hub or by root, writes a file with the right owner and mode."
    DUPLICATE_SITE Error "duplicate-site"
        "two sections of sites.cnf have one name"
        "Sites, and activators, are told apart by their names. Rename one of the two, or write the lines of both into one section."
    BAD_SITE_NAME Error "bad-site-name"
        "the name of a site or activator is too long or has characters that are not allowed"
        "The name stands in commands, logs and release records, so it must be harmless everywhere: up to 63 letters, digits, `.`, \
         `-` and `_`."
    SITE_OPTION_ASTRAY Error "site-option-astray"
        "an option of sites.cnf stands where it has no effect"
        "Options of sites stand below `[SITE=name]`, those of activators below `[ACTIVATOR=name]`. Some names belong to one of the two \
         only."
    SITE_WITHOUT_DOMAINS Error "site-without-domains"
        "a site has neither domains nor a channel"
        "A site is released by the domains that it names, or by its channel. Without both nothing is its mail."
    BAD_SITE_DOMAIN Error "bad-site-domain"
        "a domain of a site is none"
        "Domains are letters, digits and hyphens with dots between them; `@` in front means all below it too. Addresses of people do not \
         belong here."
    DUPLICATE_SITE_DOMAIN Error "duplicate-site-domain"
        "two sites have one domain"
        "Mail for a domain is given to one site. With two it would be a matter of chance who gets it, and each could take the other's. \
         A domain below one that another site has with `@` is no contradiction: the longer name wins."
    SITE_DOMAIN_IS_PUBLIC Error "site-domain-is-public"
        "a domain of a site is a public suffix"
        "Below a public suffix (`com`, `co.uk`, `dyn.example`) anybody may register. A site that had all below it could ask for \
         everybody's mail. Without `@` it is a warning only: somebody may have mail for such a name itself."
    DUPLICATE_QUEUE_NAME Error "duplicate-queue-name"
        "two sites have one queue name"
        "`ETRN #name` releases the mail of one site. Change one of the two names."
    BAD_QUEUE_NAME Error "bad-queue-name"
        "a queue name is too long or has characters that are not allowed"
        "A queue name is given behind `ETRN #`: up to 63 letters, digits, `.`, `-` and `_`. The `#` itself may be left out here."
    QUEUE_NAME_OF_CHANNEL Warning "queue-name-of-channel"
        "a queue name is the name of a channel"
        "`ETRN #name` then releases the site and no longer the channel."
    SITE_UNKNOWN_CHANNEL Error "site-unknown-channel"
        "a site or an activator names a channel that does not exist"
        "The mail of the site would be looked for in a channel that there is not, and nothing would ever be released; the mail that an \
         activator collects would be kept out. Channels are the blocks of the main file."
    TIER_WITHOUT_LOGIN Error "tier-without-login"
        "a site is trusted like one that logs in, and has no login"
        "`TIER=dynamic` sends mail to the address that a request came from, `TIER=turned` back over its connection. Without a login that would be \
         whoever asks: mail is stolen by typing one line. Write `LOGIN=`, and give the name a password with `sluice password set`."
    TIER_WITHOUT_TARGET Error "tier-without-target"
        "a site of tier static has no target"
        "`TIER=static` sends the mail of a site to its TARGET. Write one, or `TIER=none`: then it goes to the mail exchangers of the \
         domain."
    TURNED_WITHOUT_SERVICE Warning "turned-without-service"
        "a site takes its mail by ATRN, and no service offers it"
        "ATRN turns the connection of a request round. It is offered by the service `ODMR` of dispatcher.cnf, on port 366 unless `PORT=` says \
         otherwise, and by any other service with `ATRN=1`."
    BAD_SITE_HOST Error "bad-site-host"
        "a target or server is neither a host name nor an address"
        "Write a name such as `mail.example.com`, or an address in brackets. The port has an option of its own, `PORT`."
    SITE_OPTIONS_DISAGREE Error "site-options-disagree"
        "two options of a section do not go together"
        "One of them would have no effect, or the other would be dangerous; the message says which and why."
    BAD_SCHEDULE Error "bad-schedule"
        "a schedule cannot be read"
        "A SCHEDULE is a cron expression (minute, hour, day of the month, month, day of the week), an interval (`every 30m`), or times \
         with days in front of them (`mon-fri 06:00, 18:00`); several are separated by `;`."
    SCHEDULE_NEVER_RUNS Error "schedule-never-runs"
        "a schedule names a date that there is not"
        "The 31st of February does not come. Look at the day of the month and the month of the cron expression."
    BAD_WINDOW Error "bad-window"
        "a window cannot be read"
        "A WINDOW is days and times of day: `mon-fri 22:00-06:00, sat, sun`. Days without times are whole; one that ends before it begins \
         goes on into the next day."
    WINDOW_NEVER_OPENS Error "window-never-opens"
        "a window ends when it begins"
        "Nothing would ever go. For the whole day write `00:00-24:00`, or the day alone."
    BAD_ETRN_HOSTS Error "bad-etrn-hosts"
        "a group of ETRN_HOSTS cannot be read"
        "ETRN_HOSTS has groups with blanks between them: a server, and behind a colon the names to ask it for, with commas between \
         them: `s1:c1.1,c1.2 s2:c2.1 s3`. A server without names is asked for all that are ours. A port stands in front of the \
         names: `s1:2525:c1.1`."
    UNKNOWN_TIME_ZONE Error "unknown-time-zone"
        "TIME_ZONE names no time zone"
        "Times in the configuration would be hours off. Names are those of the files below /usr/share/zoneinfo (package tzdata); a rule in the \
         manner of POSIX needs no files."
    ACTIVATOR_WITHOUT_SERVER Error "activator-without-server"
        "an activator names no server"
        "An activator asks a server for our mail. Write `SERVER=` with the name that the provider gave."
    BAD_ACTIVATOR_NAME Error "bad-activator-name"
        "an activator asks for something that cannot be asked for"
        "NAMES holds what goes behind ETRN: a domain, `@` and a domain, or `#` and the name of a queue. ATRN takes domains only."
    ACTIVATOR_OF_OURSELVES Error "activator-of-ourselves"
        "an activator asks this hub itself"
        "The server is the name of this hub, or an address and port that it listens on. What waits here is released by `sluice trigger` or \
         by the SCHEDULE of a site."
    ACTIVATOR_WITHOUT_LISTENER Warning "activator-without-listener"
        "we ask for mail and cannot be reached"
        "A server that is asked by ETRN connects to us and delivers there. No service of dispatcher.cnf listens on an address that others can \
         reach, so nothing will come. Let one listen on all addresses or on the public one; ATRN needs no listener."
    BAD_ACTIVATOR_PASSWORD Error "bad-activator-password"
        "the password of an activator cannot be used"
        "The file that PASSWORD_FILE names is not there, empty, or open to everybody; or PASSWORD stands in a file that is. A password that all \
         users of the machine may read is no secret: `chmod 640` the file and let it belong to the account of the hub."
    SITE_LOGIN_UNKNOWN Warning "site-login-unknown"
        "the login of a site is not in the password file"
        "Nobody can log in by that name, so nobody can ask for the site's mail. Give the name a password with `sluice password set NAME`, or \
         look for a slip in `LOGIN`."
    CANNOT_READ_FILE Error "cannot-read-file"
        "a file of the configuration cannot be read"
        "The main file, an included file, or a neighbour that exists but may not be opened. Without it half of the mail \
         could be routed wrongly, so nothing is started. Included names are relative to the configuration folder.\n\n\
         Check the spelling and the permissions: the account of the hub must be able to read every file."
    INCLUDE_WITHOUT_NAME Error "include-without-name"
        "`<` in column one names no file"
        "A `<` in the first column puts the content of a file in place of the line. Write the name of the file behind it."
    INCLUDE_TOO_DEEP Error "include-too-deep"
        "files are included more than three levels deep"
        "PMDF reads included files up to three levels below the main file, and so does Sluice, so that a configuration \
         works in both. Include the innermost file from a higher level."
    INCLUDE_LOOP Error "include-loop"
        "a file includes itself"
        "The file is already open further up; the notes show the chain. Take one of the include lines out."
    INCLUDE_FOUND_BESIDE Info "include-found-beside"
        "an included file is read from the configuration folder"
        "The include line names a folder that this machine does not have, as lines that come from another system do \
         (`/pmdf/table/`, `PMDF_TABLE:`). A file of the same name stands beside the main file, and is read. Take the folder \
         out of the line to make sure that it stays this file."
    NOT_UTF8 Error "not-utf8"
        "a byte is not UTF-8 text"
        "Configuration files are ASCII; UTF-8 is accepted. A byte that is neither usually comes from an editor that saves \
         in an old national character set. In a comment this is only a warning.\n\nSave the file as UTF-8."
    BYTE_ORDER_MARK Warning "byte-order-mark"
        "the file begins with a byte order mark"
        "Some editors put three invisible bytes in front of UTF-8 text. Sluice skips them, other readers take them for a \
         part of the first rule. Save the file without the mark."
    CONTROL_CHARACTER Error "control-character"
        "a line holds a character that cannot be seen"
        "A control character in a pattern, name or value makes it differ from what is read on the screen, and nothing matches \
         it any more. A carriage return in the middle of a line comes from a file with the line ends of another system."
    LONG_LINE Warning "long-line"
        "a physical line has more than 252 characters"
        "PMDF and Messaging Server read 252 characters of a line. Sluice reads all of it, but the file would mean something \
         else there. Break the line with `\\` as its last character."
    LOST_CONTINUATION Warning "lost-continuation"
        "a backslash at the end of a line does not continue it"
        "`\\` joins the next line only when it is the very last character and a line that is not blank follows. With \
         blanks behind it the next line stands for itself, which nobody sees on paper. When the next line then makes no \
         sense, and where text follows on the same line, this is an error.\n\nTake out the blanks, or the backslash."
    MISSING_CONTINUATION Error "missing-continuation"
        "a line of keywords stands where a host name belongs"
        "The keywords of a channel are one line; `\\` as the last character of a line continues it on the next. Without it \
         the next line is the official host name, and the rewrite rules no longer find the channel by its own.\n\n\
         End the line above with `\\`."
    MISPLACED_COMMENT Error "misplaced-comment"
        "`!` makes a comment only in column one"
        "Anywhere else it is an ordinary character, because addresses and templates use it. What was meant as a comment \
         would be read as words of the line. Put the comment on a line of its own, with `!` as its first character. `#` and `;` make \
         comments in option files only; such a line is passed over elsewhere, with a warning."
    MISPLACED_INCLUDE Error "misplaced-include"
        "`<` includes a file only in column one"
        "With blanks in front of it the line is an ordinary line. Move the `<` to the first column."
    BLANK_LINE_IN_RULES Error "blank-line-in-rules"
        "a blank line among the rewrite rules"
        "The first blank line of the file ends the rewrite rules; all that follows is channel blocks. A stray blank line, \
         the first line of the file included, turns the remaining rules into channel blocks, which then show up as \
         duplicate hosts or names that are too long.\n\nTake the blank line out, or put a `!` in its first column."
    RULE_AFTER_CHANNELS Error "rule-after-channels"
        "a rewrite rule stands below the channel table"
        "Rewrite rules come first in the file; the first blank line ends them. A rule below a channel block would be read as \
         a block. Move it up."
    MISSING_BLANK_LINE Error "missing-blank-line"
        "a blank line is missing in front of a channel block"
        "A blank line ends the rewrite rules, and a blank line ends each channel block. Without it the block is read as a \
         rule, or as further host names of the block above. Put a blank line in front of it."
    NO_CHANNELS Error "no-channels"
        "the file has no channel blocks"
        "A configuration needs channels: rewrite rules choose among them. They follow the first blank line of the file, \
         the local channel `l` first."
    RULE_WITHOUT_TEMPLATE Error "rule-without-template"
        "a rewrite rule has a pattern and no template"
        "A rule is a pattern, blanks, and a template, such as `example.com $U@example.com`. Write the template behind the \
         pattern, or continue the line with `\\`."
    BAD_CHANNEL_NAME Error "bad-channel-name"
        "a channel name is too long or has characters that are not allowed"
        "A channel name has up to 32 lower-case letters, digits, `_` and `$`. It is the name of a queue, of an option file, \
         and the text of `ETRN #name`, so it must be harmless everywhere."
    DUPLICATE_CHANNEL Error "duplicate-channel"
        "two channel blocks have one name"
        "Mail is queued by the name of the channel, so there can be one of each. Rename one of the two, or merge them. A \
         blank line inside a block also cuts it in two."
    NO_OFFICIAL_HOST Error "no-official-host"
        "no official host name for channel"
        "The second line of a channel block names the host by which rewrite rules choose the channel. It is missing when the \
         block is only one line long, or when a blank line stands between the two."
    DUPLICATE_HOST Error "duplicate-host"
        "duplicate host in channel table"
        "Official host names and the host names of the following lines are one table for all channels; an address whose \
         routing system is in it goes to that channel. A name that is there twice would make the choice a matter of \
         chance.\n\nTake one of the two out. If one of them looks like a rewrite rule, look for a blank line among the rules."
    HOST_NAME_TOO_LONG Error "host-name-too-long"
        "official host name is too long, or local host alias or proper name too long"
        "Names in the channel table have up to 128 octets. For a host with a longer name make up a short official name, and \
         a rule `long.name $U%$D@SHORT` for it. Names that are too long also appear when a blank line among the rewrite \
         rules turns a rule into a channel block."
    BAD_HOST_NAME Error "bad-host-name"
        "a host name has characters that no host name has"
        "The lines below the first line of a block hold host names: letters, digits, `.`, `-`, `_`, or an address literal \
         in brackets. A rewrite template or an address in this place usually means that a blank line is missing or one too \
         many."
    EXTRA_WORDS Error "extra-words"
        "a line has more words than it has places for"
        "The second line of a block holds the official host name and, if wanted, the local host alias; each line below it a \
         host name and, if wanted, its proper name. Keywords belong on the first line, which `\\` continues."
    FIRST_CHANNEL_NOT_LOCAL Error "first-channel-not-local"
        "the first channel block is not the local channel"
        "The channel `l` gives the hub its name and must come first; only `defaults` and `nodefaults` may stand above it. Where \
         PMDF has no local mailboxes `msgstore` or `popstore` takes its place."
    LINE_AFTER_DEFAULTS Warning "line-after-defaults"
        "a line below `defaults` is ignored"
        "A `defaults` or `nodefaults` block has one line; what follows it up to the next blank line is not read. To go on with \
         the keywords, continue the line with `\\`."
    UNKNOWN_KEYWORD Error "unknown-channel-keyword"
        "a word is not a channel keyword"
        "PMDF takes such a word for the name of a group that senders must belong to, and a slip of a key then closes the \
         channel to everybody. Sluice has no such groups and takes no guess: the word has no effect. `sluice check` calls it an \
         error, and a hub does not start with it; only one that runs a `pmdf.cnf` or `imta.cnf` as it stands warns and goes on. \
         `sluice test rewrite` lists it among the rightslist ids then.\n\nThe \
         reference lists all keywords; `sluice explain KEYWORD` tells about one."
    UNEXPECTED_ARGUMENT Error "unexpected-argument"
        "a value stands where a keyword is expected"
        "The keyword in front of it takes no argument, or has all of its arguments already. Take the value out, or put the \
         keyword in front of it that it belongs to."
    MISSING_ARGUMENT Error "missing-argument"
        "a keyword has no argument"
        "The line ends, or the next word is itself a keyword, where an argument is needed. An argument that is spelt like a \
         keyword can be put in quotes."
    BAD_ARGUMENT Error "bad-argument"
        "an argument is not of the kind that its keyword takes"
        "The reference says for each keyword what follows it. Integers are decimal here; durations have the form of ISO 8601 \
         (`PT30M`, `PT4H`, `P1D`)."
    LIST_TOO_LONG Error "list-too-long"
        "a list of arguments has too many values"
        "`notices` and its kind take up to five ages, `backoff` and its kind up to eight durations, of which the last is \
         repeated. What goes beyond would be lost without a word."
    NOT_INCREASING Error "not-increasing"
        "the values of a list do not increase"
        "Each age in `notices` counts from the arrival of the message: `notices 1 2 4 7` warns after one, two and four days and \
         returns the message after seven. A value that is not greater than the one before it can never be reached."
    ARGUMENT_TOO_LONG Error "argument-too-long"
        "an argument is longer than PMDF reads"
        "Arguments have up to 40 characters; texts and URLs up to 252, filters up to 1024, names of pools and queues up to 12. \
         For a peer with a long name make that name the official host of the channel and write `daemon router`."
    UNCLOSED_QUOTE Error "unclosed-quote"
        "a quote has no partner"
        "A quoted argument ends with `\"` and a blank or the end of the line. Everything from the quote on was left out of \
         account."
    OVERRIDDEN_KEYWORD Warning "overridden-keyword"
        "two keywords of one line set the same thing"
        "The rightmost wins, so the other has no effect. A general keyword also takes away what a special one set in front \
         of it: write `urgentnotices` behind `notices`. Take out the one that is not meant."
    KEYWORD_WITHOUT_EFFECT Info "keyword-without-effect"
        "a keyword is accepted and has no effect"
        "It belongs to another product or to a layer that Sluice does not have, or to a channel that is not configured. It is accepted so that existing \
         configurations can be used as they are, and said once for each keyword."
    TCP_WITHOUT_SMTP Warning "tcp-without-smtp"
        "a `tcp_*` channel has no `smtp` keyword"
        "The names `tcp_*` belong to channels that speak SMTP, but a channel speaks it only when `smtp` or one of its kind is \
         written on it or in `defaults`: the default is `nosmtp`. Add `smtp`, or `lmtp` for a store of mailboxes."
    CHANNEL_WITHOUT_PLUGIN Info "channel-without-plugin"
        "no plugin delivers what is queued to a channel"
        "Mail for the channel is accepted and stays queued. Plugins are known for `tcp_*`, `l`, `bitbucket`, `filter_discard`, and \
         for `process`, `reprocess`, `conversion`, `defragment`, `directory`, `http`, `pipe`, `drop`, `pickup`, `bsin`, `bsout`, `archive` and names that begin with one of these and `_`. For \
         another name write a section `[CHANNEL=name]` with `MASTER_PLUGIN=` into `job_controller.cnf`."
    CHANNEL_PASSES_THROUGH Info "channel-passes-through"
        "mail on a service channel goes on as it is"
        "In the products this channel changes a message before it goes on. That service does not exist here; what is queued to \
         the channel is brought in again, as by the channel `reprocess`, so that nothing is kept from its recipients."
    BAD_CONVERSION Error "bad-conversion"
        "a clause of the file `conversions` cannot be read"
        "An entry is made of clauses `parameter=value;`, as many on a line as there is room for. It ends with a line that does not end in a semicolon, \
         or in front of a blank line. A value with blanks, semicolons or quotes stands in double quotes, with a backslash in front of quotes and \
         backslashes in it."
    CONVERSION_WITHOUT_EFFECT Warning "conversion-without-effect"
        "something about conversions does nothing"
        "An entry of the file `conversions` needs `in-type`, and `command` or `delete=1`. Entries with `relabel`, `service-command` or a tag are for \
         services of the products that do not exist here, and are skipped. A parameter that nobody knows is passed over, as in the products. A channel \
         `conversion` without entries passes mail on as it is."
    NO_CONVERSION_CHANNEL Warning "no-conversion-channel"
        "conversions are asked for, and there is no channel for them"
        "The mapping table `CONVERSIONS` leads mail to the channel `conversion`, where the entries of the file `conversions` are looked through. \
         Without that channel mail goes on as it is. Other channels of the kind, `conversion_*`, which `Channel=` names, do not make up for it."
    BAD_CONVERSION_ANSWER Warning "bad-conversion-answer"
        "the table `CONVERSIONS` answers with something that is not understood"
        "Its answers are `Yes`, `No`, or `Channel=name` for another channel than `conversion`, with commas and no blanks between several words. \
         A word that is none of these is passed over; a channel that does not exist is replaced by `conversion`."
    NO_DEFRAGMENT_CHANNEL Warning "no-defragment-channel"
        "large messages cannot be cut into pieces"
        "The keywords `maxblocks` and `maxlines` lead mail over the channel `defragment`. Without a channel of that name \
         it goes on whole. Add the block, or take the keyword out."
    EXPANSION_NOT_PUT_OFF Warning "expansion-not-put-off"
        "`expandlimit` cannot do what it says"
        "A message for more recipients than `expandlimit` is put whole on the channel `reprocess`, or on the one that `expandchannel` \
         names, and brought in again from there. So that channel must exist, and the keyword belongs to the channels that mail \
         comes in by, not to the local channel and not to a channel that brings mail in again."
    CHANNEL_SECTION_UNUSED Warning "channel-section-unused"
        "a section of `job_controller.cnf` is for no channel"
        "`[CHANNEL=pattern]` gives the channels that its pattern matches a plugin or a pool. This one matches none, so that a channel it was \
         written for has the built-in plugin, or the pool `DEFAULT`. `*` stands for any characters; case does not matter."
    UNDEFINED_POOL Warning "undefined-pool"
        "a channel names a pool that is not defined"
        "Pools are defined by `[POOL=name]` or `[QUEUE=name]` in `job_controller.cnf`. The channel uses the pool `DEFAULT` instead, and \
         shares its limit."
    NOT_AN_OPTION Error "not-an-option"
        "a line of an option file is not `NAME=value`"
        "Option files have one `NAME=value` on a line, sections `[KIND=name]` where the file has sections, comments with `!`, `#` or \
         `;` in column one, and blank lines."
    UNKNOWN_OPTION Warning "unknown-option"
        "an option has a name that is not known"
        "It is kept and has no effect. The reference lists the options of each file; a channel's option file also holds the \
         options of its plugin."
    BAD_OPTION_VALUE Error "bad-option-value"
        "the value of an option is not of its kind"
        "Integers may have a base (`16%ff` is 255). Sizes are in bytes, with K, M or G behind them if wanted. Durations are seconds, or have \
         units: `30s`, `4h`, `1h30m`, `PT4H`. The times of channel options are minutes, fractions allowed."
    OPTION_REQUIRED Warning "option-required"
        "an option that a channel's plugin needs is not set"
        "The plugin has no default for it, so the channel does not start, and its mail waits. Set it in the channel's option file; the \
         reference page of the channel, or `sluice plugin show`, says what it means."
    REPEATED_OPTION Warning "repeated-option"
        "an option is set twice"
        "The last one counts. Take out the other."
    UNKNOWN_SECTION Error "unknown-section"
        "a section of this kind does not belong into the file"
        "`dispatcher.cnf` has sections `[SERVICE=name]`; `job_controller.cnf` has `[POOL=name]` or `[QUEUE=name]`, `[CHANNEL=pattern]` and \
         `[PERIODIC_JOB=name]`; the other option files have none. The options below it were left out of account."
    REPEATED_SECTION Warning "repeated-section"
        "a section of the same name stands further up"
        "The options of both are taken together, and later ones win. One section is easier to read."
    SERVICE_WITHOUT_PORT Error "service-without-port"
        "a service has no port to listen on"
        "Only the services `SMTP` and `SUBMIT` have a customary port. Write `PORT=` into the section, such as \
         `PORT=2525` or `PORT=[127.0.0.1]2525`."
    PORT_TWICE Error "port-twice"
        "two services have one port"
        "Only one listener can have a port; the hub would not start. A service without `INTERFACE_ADDRESS=` takes its ports on all \
         addresses. `SMTP` listens on 25 and `SUBMIT` on 587 where no `PORT=` is written."
    SERVICE_NOT_SERVED Warning "service-not-served"
        "a service runs a program that is no SMTP server"
        "Sluice speaks SMTP on every port that it listens on. A service whose `IMAGE=` is another program (POP, IMAP, HTTP, \
         LMTP) is left out, and nothing listens on its ports. Take the section out, or the `IMAGE=` line if it is SMTP."
    UNDEFINED_CHANNEL Error "undefined-channel"
        "a service names a channel that is not defined"
        "`PARAMETER=CHANNEL=name` chooses the channel on which the sessions of a listener start; its keywords say what clients \
         may do. Sessions of an unknown channel would have no rules at all."
    NO_SUCH_CHANNEL Warning "no-such-channel"
        "a keyword names a channel that is not defined"
        "Keywords such as `saslswitchchannel`, `expandchannel` and `alternatechannel` are followed by the name of a channel, the first \
         word of its block. There is no block of this name, so the keyword does nothing; what it was to keep apart goes on as if it \
         had not been written."
    TLS_PORT_NOT_SERVED Warning "tls-port-not-served"
        "`TLS_PORT` is set, and there is no certificate"
        "Nothing listens on the port. Name a certificate and its key with `TLS_CERTIFICATE=` and `TLS_KEY=`, or put them into the \
         configuration folder as `server-pub.pem` and `server-priv.pem`."
    BAD_CERTIFICATE Error "bad-certificate"
        "a certificate or its key cannot be used"
        "Both are files in PEM form: the certificate of the service first, then those above it up to one that clients know; and the \
         private key of the first, without a password. Who renews them runs `sluice reload` afterwards. A key that everybody may read \
         is refused: `chmod 640` it, and give it to the account or the group that the hub runs under."
    TLS_WITHOUT_CERTIFICATE Warning "tls-without-certificate"
        "a channel is to have TLS in the server, and there is no certificate"
        "With `maytls` STARTTLS is not offered then; with `musttls` no mail is taken at all. Name a certificate and its key with \
         `TLS_CERTIFICATE=` and `TLS_KEY=` in `dispatcher.cnf`, or put them into the configuration folder as `server-pub.pem` and \
         `server-priv.pem`."
    BAD_PASSWORD_FILE Error "bad-password-file"
        "the password file cannot be used"
        "Each line has a name and a record, as `sluice password set` writes them; the page on the password file has the form. A file that \
         everybody may read is refused: `chmod 640` it, and give it to the account or the group that the hub runs under."
    LOGIN_WITHOUT_USERS Warning "login-without-users"
        "a channel is to have logins, and there is nobody who could log in"
        "With `maysasl` AUTH is not offered then; with `mustsasl` no mail is taken at all. Name a file with `PASSWORD_FILE=` in \
         `option.dat`, and put somebody into it with `sluice password set NAME`."
    OPTION_FILE_WITHOUT_CHANNEL Warning "option-file-without-channel"
        "an option file belongs to no channel"
        "The options of a channel stand in a file that is named after it, `tcp_local_option` for `tcp_local`. A file whose channel \
         does not exist is never read. Rename it, or take it away."
    MAPPING_BLANK_LINE_MISSING Warning "mapping-blank-line-missing"
        "a blank line is missing in the mapping file"
        "The name of a table is followed by a blank line, and a blank line ends the table. Here both can be told apart without it, \
         and the file is read as it was meant; other readers would take the lines for something else. Put the blank line in."
    MAPPING_ENTRY_OUTSIDE Error "mapping-entry-outside-table"
        "an entry of a mapping table belongs to no table"
        "Lines that begin with a blank are entries; they belong to the table whose name stands in column one above them. In front \
         of these there is no name. Put one above them, with a blank line in between."
    MAPPING_ENTRY_AFTER_TABLE Error "mapping-entry-after-table"
        "an entry stands below the blank line that ends its table"
        "A blank line ends a mapping table, so what follows it belongs to no table and would be lost: for an access table that \
         would open or close the door to the wrong people. Take the blank line out, or put a `!` in its first column to make a \
         comment of it. For another table write its name in column one."
    MAPPING_ENTRY_NOT_INDENTED Error "mapping-entry-not-indented"
        "an entry of a mapping table stands in column one"
        "Column one of the mapping file is for table names, which begin with a letter and stand alone on their line, for comments \
         (`!`) and for includes (`<`). Entries begin with at least one blank."
    MAPPING_WORDS_BEHIND_NAME Error "mapping-words-behind-name"
        "something stands behind the name of a mapping table"
        "The name of a table is one word, alone on its line. Entries follow below a blank line, each with a blank in front."
    MAPPING_DUPLICATE_TABLE Error "mapping-duplicate-table"
        "two mapping tables have one name"
        "Tables are asked by name, upper and lower case alike, and the order of entries is their meaning; nobody could say which \
         entries come first. Put the entries of both into one table."
    MAPPING_NAME_TOO_LONG Error "mapping-name-too-long"
        "the name of a mapping table is too long"
        "The name has at most 128 octets. So long a word in column one is often an entry that lost the blanks in front of it."
    MAPPING_TOO_LONG Error "mapping-part-too-long"
        "a pattern or a template of a mapping table is too long"
        "The limits are 256 characters for a pattern and 1024 for a template; beyond 252 this is a warning, for older products \
         read no more. Split the entry, or let it call another table with `$|table;text|`."
    MAPPING_UNQUOTED_BLANK Warning "mapping-unquoted-blank"
        "a blank in a template of a mapping table has no `$` in front of it"
        "Blanks separate pattern and template; a blank that belongs to one of them is written `$` and a blank, as in \
         `$NTry$ again$ later`. Here the rest of the line is taken as it stands. Other products may end the template at the blank."
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_kebab_case_and_unique() {
        for (index, code) in codes().iter().enumerate() {
            assert!(code.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert!(codes()[..index].iter().all(|other| other.name != code.name), "{}", code.name);
            assert!(!code.summary.is_empty() && !code.explanation.is_empty());
        }
    }
}
