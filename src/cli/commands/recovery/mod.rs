//! `recovery`: prints the manual page on disaster recovery.

mod page;

/// The manual page on disaster recovery.
pub(crate) fn text() -> String {
    const PAGE: &str = include_str!("../../../../man/etcd-seal-recovery.7");
    // A test renders it; in a disaster the unrendered page is better than none.
    page::render(PAGE).unwrap_or_else(|_| PAGE.to_owned())
}
