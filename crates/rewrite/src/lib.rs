//! Rewrite rules: an address and a direction become a route or a refusal.
