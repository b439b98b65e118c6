//! From an address to the words of a command.
//!
//! A command is cut into words when the channel starts: blanks part words, quotes (`'` or `"`) keep them together, and a backslash
//! takes the meaning from the next character. `%` and a letter stand for something of the delivery. They are filled in after the
//! cutting, so that nothing of an address becomes a word, an option or a quote of its own: a local part such as `x; rm -rf /` is
//! one argument, and one that would begin a word with `-` is refused.
//!
//! # Not here
//! Whether there is such a program: the run finds out (`program`).

use std::collections::HashMap;
use std::ffi::OsString;

use sluice_mail::Address;
use sluice_sdk::{Context, CreateError, Recipient, SettingKind, Status};

use sluice_programs::Account;

/// Longest command, in octets, and the most of them.
const COMMAND_MAX: usize = 8192;
const ENTRIES_MAX: usize = 100_000;
/// Longest file of entries.
const DATABASE_MAX: u64 = 32 << 20;

/// All commands of a channel.
#[derive(Debug, Default)]
pub(crate) struct Commands {
    /// By `user@host` or `host`, in lower case.
    entries: HashMap<String, Command>,
    otherwise: Option<Command>,
}

/// One command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Command {
    words: Vec<Vec<Part>>,
}

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// `%s`: the local part, without quotes.
    User,
    /// `%d`: the domain.
    Domain,
    /// `%a`: the address.
    Address,
    /// `%o`: the address as it was before rewriting.
    Original,
    /// `%f`: the envelope sender.
    Sender,
    /// `%i`: the queue id.
    Id,
}

/// What may be filled into words, for one recipient.
#[derive(Debug)]
pub(crate) struct Values<'d> {
    sender: &'d str,
    id: &'d str,
    user: String,
    domain: &'d str,
    address: &'d str,
    original: &'d str,
}

impl<'d> Values<'d> {
    pub(crate) fn of(sender: &'d str, id: &'d str, recipient: &Recipient<'d>) -> Values<'d> {
        let user = Address::parse(recipient.address)
            .map(|address| address.local_text().into_owned())
            .unwrap_or_default();
        let Recipient { address, original, domain, .. } = *recipient;
        Values { sender, id, user, domain, address, original }
    }
}

impl Commands {
    /// Reads the options, the lines for addresses in the option file, and the file of entries.
    pub(crate) fn read(context: &Context, written: &crate::Written) -> Result<Commands, CreateError> {
        let shell = written.use_shell;
        let make = |what: &str, text: &str| {
            Command::read(text, shell).map_err(|why| {
                CreateError::refused(format!("the command of {what} is `{}`; {why}", text.escape_debug()))
            })
        };
        let mut commands = Commands::default();
        if let Some(path) = &written.pipe_database {
            let failed = |why: String| CreateError::failed(format!("cannot read {}: {why}", path.display()));
            let size = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
            if size > DATABASE_MAX {
                return Err(failed(format!("it has more than {DATABASE_MAX} octets")));
            }
            let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
            for (number, line) in text.lines().enumerate() {
                if line.trim().is_empty() || line.starts_with(['!', '#']) {
                    continue;
                }
                let at = format!("{}, line {}", path.display(), number + 1);
                let Some((name, command)) = line.trim().split_once([' ', '\t']) else {
                    let text = format!("{at} has no command: write an address or a host, blanks, a command");
                    return Err(CreateError::refused(text));
                };
                commands.add(name, make(&at, command.trim())?)?;
            }
        }
        let lines = context.settings().iter().filter(|one| one.kind == SettingKind::Option);
        for line in lines.filter(|line| is_entry(&line.name)) {
            commands.add(&line.name, make(&format!("`{}`", line.name.to_lowercase()), &line.value)?)?;
        }
        commands.otherwise =
            written.command.as_deref().map(|text| make("the option COMMAND", text)).transpose()?;
        if commands.entries.is_empty() && commands.otherwise.is_none() {
            let text = "no command is set: write `COMMAND=/path/of/program`, or `user@host=/path/of/program`, into the option file";
            return Err(CreateError::refused(text));
        }
        Ok(commands)
    }

    fn add(&mut self, name: &str, command: Command) -> Result<(), CreateError> {
        if self.entries.len() >= ENTRIES_MAX {
            return Err(CreateError::refused(format!("there are more than {ENTRIES_MAX} entries")));
        }
        // The option file stands above the other, and the last line for an address counts.
        self.entries.insert(name.to_lowercase(), command);
        Ok(())
    }

    /// The command for a recipient: the entry of its address, that of its host, or the one for all.
    pub(crate) fn of(&self, user: &str, host: &str) -> Option<&Command> {
        let (user, host) = (user.to_lowercase(), host.to_lowercase());
        let own = self.entries.get(&format!("{user}@{host}")).or_else(|| self.entries.get(&host));
        own.or(self.otherwise.as_ref())
    }
}

/// Whether a line of the option file is for an address or a host, and no option: their names have neither `@` nor dot.
fn is_entry(name: &str) -> bool {
    name.contains(['@', '.'])
}

impl Command {
    fn read(text: &str, shell: bool) -> Result<Command, String> {
        // PMDF's own entries and those of other systems have `|` in front.
        let text = text.trim().trim_start_matches('|').trim_start();
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        if text.len() > COMMAND_MAX {
            return Err(format!("it has more than {COMMAND_MAX} octets"));
        }
        if text.chars().any(|c| c.is_control() && c != '\t') {
            return Err("it has control characters".to_owned());
        }
        if shell {
            let mut chars = text.chars();
            while let Some(c) = chars.next() {
                if c == '%' && chars.next().is_some_and(|next| "sdaofi".contains(next)) {
                    return Err("with USE_SHELL=1 it cannot have `%` and a letter: write \"$RECIPIENT\", \"$LOCAL\", \"$DOMAIN\" or \"$SENDER\", with the quotes".to_owned());
                }
            }
            let plain = |text: &str| vec![Part::Text(text.to_owned())];
            return Ok(Command { words: vec![plain("/bin/sh"), plain("-c"), plain(text)] });
        }
        let words = cut(text)?;
        match words.first().map(Vec::as_slice) {
            Some([Part::Text(program)]) if program.starts_with('/') => Ok(Command { words }),
            _ => Err("its first word must be the full path of a program, from `/` on".to_owned()),
        }
    }

    /// The words for these recipients: a word that depends on the recipient stands once for each.
    pub(crate) fn words(&self, each: &[Values<'_>]) -> Result<Vec<OsString>, (Status, String)> {
        let mut words = Vec::with_capacity(self.words.len());
        for word in &self.words {
            let of_recipient =
                word.iter().any(|part| matches!(part, Part::User | Part::Address | Part::Original));
            let count = if of_recipient { each.len() } else { 1 };
            for values in each.iter().take(count) {
                words.push(filled(word, values)?.into());
            }
        }
        Ok(words)
    }
}

/// A word with everything filled in.
fn filled(word: &[Part], values: &Values<'_>) -> Result<String, (Status, String)> {
    let mut text = String::new();
    for part in word {
        let (value, status) = match part {
            Part::Text(plain) => {
                text.push_str(plain);
                continue;
            }
            Part::User => (values.user.as_str(), Status::new(5, 1, 3)),
            Part::Domain => (values.domain, Status::new(5, 1, 3)),
            Part::Address => (values.address, Status::new(5, 1, 3)),
            Part::Original => (values.original, Status::new(5, 1, 3)),
            Part::Sender => (values.sender, Status::new(5, 1, 7)),
            Part::Id => (values.id, Status::new(5, 3, 0)),
        };
        if value.chars().any(char::is_control) {
            return Err((status, "an address with control characters is not given to a program".to_owned()));
        }
        if text.is_empty() && value.starts_with('-') {
            let why = "an address that begins with `-` is not given to a program, which would take it for an option";
            return Err((status, why.to_owned()));
        }
        text.push_str(value);
    }
    Ok(text)
}

/// Cuts a command into words.
fn cut(text: &str) -> Result<Vec<Vec<Part>>, String> {
    let mut words: Vec<Vec<Part>> = Vec::new();
    let mut word: Option<Vec<Part>> = None;
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (' ' | '\t', None) => {
                words.extend(word.take());
                continue;
            }
            (c, Some(open)) if c == open => quote = None,
            ('"' | '\'', None) => quote = Some(c),
            ('\\', None | Some('"')) => match chars.next() {
                Some(next) => {
                    push(word.get_or_insert_default(), next);
                    continue;
                }
                None => return Err("it ends with a backslash".to_owned()),
            },
            ('%', _) => {
                let part = match chars.next() {
                    Some('s') => Part::User,
                    Some('d') => Part::Domain,
                    Some('a') => Part::Address,
                    Some('o') => Part::Original,
                    Some('f') => Part::Sender,
                    Some('i') => Part::Id,
                    Some('%') => {
                        push(word.get_or_insert_default(), '%');
                        continue;
                    }
                    _ => {
                        return Err("`%` must be followed by s (user), d (domain), a (address), o (original address), f (sender), i (queue id) or %".to_owned());
                    }
                };
                word.get_or_insert_default().push(part);
                continue;
            }
            (c, _) => {
                push(word.get_or_insert_default(), c);
                continue;
            }
        }
        // A pair of quotes with nothing in between is a word, too.
        word.get_or_insert_default();
    }
    if quote.is_some() {
        return Err("a quote is not closed".to_owned());
    }
    words.extend(word);
    Ok(words)
}

fn push(word: &mut Vec<Part>, c: char) {
    match word.last_mut() {
        Some(Part::Text(text)) => text.push(c),
        _ => word.push(Part::Text(c.to_string())),
    }
}

/// The whole environment of a program: nothing of the hub's own is in it.
pub(crate) fn variables(each: &[Values<'_>], account: Option<&Account>) -> Vec<(&'static str, OsString)> {
    let mut variables = sluice_programs::environment(account);
    // An address may hold what a variable cannot, a NUL; words with one have been refused, and here it is left out.
    let clean = |text: &str| OsString::from(text.chars().filter(|c| !c.is_control()).collect::<String>());
    if let [first, ..] = each {
        variables.extend([("SENDER", clean(first.sender)), ("QUEUE_ID", clean(first.id))]);
        variables.push(("DOMAIN", clean(first.domain)));
    }
    if let [one] = each {
        variables.push(("LOCAL", clean(&one.user)));
        variables.push(("RECIPIENT", clean(one.address)));
        variables.push(("ORIGINAL_RECIPIENT", clean(one.original)));
    }
    variables
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values<'d>(address: &'d str, sender: &'d str) -> Values<'d> {
        let recipient = Recipient {
            index: 0,
            address,
            original: "orig@in.example",
            domain: "pipe.example",
            notify: 0,
            origin: "",
        };
        Values::of(sender, "Q1", &recipient)
    }

    fn words(command: &str, address: &str, sender: &str) -> String {
        let command = match Command::read(command, false) {
            Ok(command) => command,
            Err(why) => return format!("refused: {why}"),
        };
        match command.words(&[values(address, sender)]) {
            Ok(words) => {
                let words: Vec<String> =
                    words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
                words.join("|")
            }
            Err((status, _)) => format!("no: {status}"),
        }
    }

    #[test]
    fn commands_are_cut_into_words_and_filled() {
        for (command, expected) in [
            ("/bin/x", "/bin/x"),
            ("  |  /bin/x  a\tb ", "/bin/x|a|b"),
            ("/bin/x 'a b' \"c d\" e\\ f", "/bin/x|a b|c d|e f"),
            ("/bin/x '' \"\" a''b", "/bin/x|||ab"),
            ("/bin/x 'a\\b' \"a\\\"b\"", "/bin/x|a\\b|a\"b"),
            (
                "/bin/x -listname=%s %d %a %o %f %i 100%%",
                "/bin/x|-listname=fred|pipe.example|fred@pipe.example|orig@in.example|s@a|Q1|100%",
            ),
            ("/bin/x '%s'", "/bin/x|fred"),
            ("bin/x", "refused: its first word must be the full path of a program, from `/` on"),
            ("/bin/%s", "refused: its first word must be the full path of a program, from `/` on"),
            ("|", "refused: it is empty"),
            ("/bin/x 'a", "refused: a quote is not closed"),
            ("/bin/x a\\", "refused: it ends with a backslash"),
        ] {
            assert_eq!(words(command, "fred@pipe.example", "s@a"), expected, "{command}");
        }
        assert!(words("/bin/x %q", "fred@x", "s@a").starts_with("refused: `%` must be followed by"));
        assert!(words("/bin/x %", "fred@x", "s@a").starts_with("refused: `%` must be followed by"));
    }

    #[test]
    fn nothing_of_an_address_becomes_a_word_or_an_option() {
        for (address, expected) in [
            ("\"x; rm -rf /\"@pipe.example", "/bin/x|x; rm -rf /"),
            ("\"a b 'c' \\\"d\\\"\"@pipe.example", "/bin/x|a b 'c' \"d\""),
            ("$(id)@pipe.example", "/bin/x|$(id)"),
            ("`id`@pipe.example", "/bin/x|`id`"),
            ("%s%f@pipe.example", "/bin/x|%s%f"),
            ("-rf@pipe.example", "no: 5.1.3"),
            ("\"-rf\"@pipe.example", "no: 5.1.3"),
            ("\"a\nb\"@pipe.example", "no: 5.1.3"),
        ] {
            let found = words("/bin/x %s", address, "s@a");
            // What the parser of addresses does not take at all has no user, and no run.
            assert!(found == expected || found == "/bin/x|", "{address:?}: {found}");
        }
        assert_eq!(words("/bin/x --to=%s", "-rf@pipe.example", "s@a"), "/bin/x|--to=-rf");
        assert_eq!(words("/bin/x %f", "a@pipe.example", "-oQ/tmp@a"), "no: 5.1.7");
        assert_eq!(words("/bin/x -f %f", "a@pipe.example", ""), "/bin/x|-f|");
    }

    #[test]
    fn a_word_of_the_recipient_stands_once_for_each() {
        let command = Command::read("/bin/x -f %f -- %a end", false).unwrap();
        let each = [values("a@p", "s@a"), values("b@p", "s@a")];
        assert_eq!(command.words(&each).unwrap(), ["/bin/x", "-f", "s@a", "--", "a@p", "b@p", "end"]);
    }

    #[test]
    fn a_shell_gets_one_line_and_no_substitutions() {
        let command = Command::read("cat > /tmp/$LOCAL 100%", true).unwrap();
        let words = command.words(&[values("\"; id\"@p", "s@a")]).unwrap();
        assert_eq!(words, ["/bin/sh", "-c", "cat > /tmp/$LOCAL 100%"]);
        assert!(Command::read("echo %s", true).unwrap_err().contains("$RECIPIENT"));
    }

    #[test]
    fn the_environment_is_small_and_clean() {
        let one = variables(&[values("\"a b\"@p", "s@a")], None);
        let names: Vec<&str> = one.iter().map(|(name, _)| *name).collect();
        assert_eq!(
            names,
            [
                "PATH",
                "SHELL",
                "LANG",
                "HOME",
                "SENDER",
                "QUEUE_ID",
                "DOMAIN",
                "LOCAL",
                "RECIPIENT",
                "ORIGINAL_RECIPIENT"
            ]
        );
        assert_eq!(one.iter().find(|(name, _)| *name == "LOCAL").unwrap().1, "a b");
        let two = variables(&[values("a@p", "s@a"), values("b@p", "s@a")], None);
        assert!(two.iter().all(|(name, _)| *name != "RECIPIENT"));
    }

    #[test]
    fn the_entry_of_an_address_goes_before_that_of_its_host() {
        let mut commands = Commands::default();
        for (name, command) in [("Gripes@Pipe.Example", "/bin/a"), ("pipe.example", "/bin/b")] {
            commands.add(name, Command::read(command, false).unwrap()).unwrap();
        }
        let of = |commands: &Commands, user, host| commands.of(user, host).map(words_of);
        assert_eq!(of(&commands, "gripes", "pipe.example").as_deref(), Some("/bin/a"));
        assert_eq!(of(&commands, "GRIPES", "PIPE.example").as_deref(), Some("/bin/a"));
        assert_eq!(of(&commands, "info", "pipe.example").as_deref(), Some("/bin/b"));
        assert_eq!(of(&commands, "gripes", "other.example"), None);
        commands.otherwise = Some(Command::read("/bin/c", false).unwrap());
        assert_eq!(of(&commands, "gripes", "other.example").as_deref(), Some("/bin/c"));
        assert!(is_entry("A@B") && is_entry("PIPE.EXAMPLE") && !is_entry("USE_SHELL"));
    }

    fn words_of(command: &Command) -> String {
        command.words(&[values("a@b", "")]).unwrap()[0].to_string_lossy().into_owned()
    }
}
