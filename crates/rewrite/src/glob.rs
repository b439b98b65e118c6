//! Channel names with `*` (any run of characters) and `%` (any one), compared without case.

/// A channel name, or a pattern for several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Box<str>);

impl Glob {
    pub(crate) fn new(text: &str) -> Glob {
        Glob(text.to_ascii_lowercase().into())
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut at, mut in_name) = (0, 0);
        // Where to go on when the text behind the last `*` does not fit: the star swallows one more character.
        let mut retry: Option<(usize, usize)> = None;
        while in_name < name.len() {
            let byte = name[in_name].to_ascii_lowercase();
            match pattern.get(at) {
                Some(b'*') => {
                    retry = Some((at, in_name));
                    at += 1;
                }
                Some(&wanted) if wanted == b'%' || wanted == byte => {
                    at += 1;
                    in_name += 1;
                }
                _ => match retry {
                    Some((star, swallowed)) => {
                        retry = Some((star, swallowed + 1));
                        at = star + 1;
                        in_name = swallowed + 1;
                    }
                    None => return false,
                },
            }
        }
        pattern[at..].iter().all(|b| *b == b'*')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_percents() {
        for (pattern, name, fits) in [
            ("tcp_local", "tcp_local", true),
            ("TCP_local", "tcp_LOCAL", true),
            ("tcp_*", "tcp_", true),
            ("tcp_*", "tcp", false),
            ("*", "", true),
            ("*a*b", "xaabxb", true),
            ("*a*b", "xaabx", false),
            ("t%p", "tcp", true),
            ("t%p", "tp", false),
            ("", "", true),
            ("", "l", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), fits, "{pattern} {name}");
        }
    }
}
