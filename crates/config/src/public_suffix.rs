//! Public suffixes: domains under which others may register, such as `com`, `co.uk` or `dyn.example`.
//!
//! The list is Mozilla's, compiled in with the crate `psl`; it is as new as the release. Names under a top-level domain that
//! is not on it (`site7.test`) are nobody's suffix, the top-level domain itself is one.
//!
//! # Not here
//! What follows from it: a site may not have all below such a domain, and ETRN does not release it.

use sluice_mail::ReversedDomain;

/// Whether the domain is a public suffix, so that what is below it belongs to many. The domain in any spelling, without
/// `@`; an address literal is none.
#[must_use]
pub fn is_public_suffix(domain: &str) -> bool {
    let domain = ReversedDomain::new(domain).to_domain();
    if domain.is_empty() || domain.starts_with('[') {
        return false;
    }
    match psl::suffix(domain.as_bytes()) {
        Some(suffix) => suffix.as_bytes().len() >= domain.len(),
        None => !domain.contains('.'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_register_under_is_public() {
        for domain in ["com", "COM.", "co.uk", "test", "github.io", "公司.cn", "xn--55qx5d.cn", "localhost"]
        {
            assert!(is_public_suffix(domain), "{domain}");
        }
        for domain in
            ["example.com", "example.co.uk", "site7.test", "a.github.io", "[192.0.2.1]", "", "uk.com.example"]
        {
            assert!(!is_public_suffix(domain), "{domain}");
        }
    }
}
