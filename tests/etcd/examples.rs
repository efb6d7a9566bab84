//! The two programs of the documentation, which use nothing but the front door of the library.

use harness::each_etcd;
use harness::program::etcd_seal;
use harness::sandbox::Sandbox;
use std::path::Path;

#[test]
fn one_example_backs_up_an_etcd_and_the_other_says_what_the_archive_says() {
    for etcd in each_etcd() {
        etcd.fill("key", 10, 100);
        let sandbox = Sandbox::furnished();
        // Cargo builds them with the tests.
        let examples = Path::new(etcd_seal()).with_file_name("examples");
        let backup = |endpoint: &str| {
            let backup = sandbox.program(examples.join("backup")).args([endpoint, &sandbox.recipient]);
            backup.arg(sandbox.backups())
        };
        let backed_up = backup(&etcd.address()).succeed();
        let archive = sandbox.archive();
        assert!(backed_up.text().starts_with(archive.to_str().unwrap()), "{}", backed_up.text());
        sandbox.open("verify").arg(&archive).succeed();

        let describe = sandbox.program(examples.join("describe")).arg(&archive);
        let described = describe.clone().succeed();
        assert!(described.text().contains(", revision Some(2)\nopened: false"), "{}", described.text());
        let opened = describe.arg(sandbox.identity()).succeed();
        assert_eq!(opened.text(), described.text().replace("false", "true"));

        backup(&etcd.address()).arg("--").fails_with(101, "usage: backup ");
        let failed = backup("127.0.0.1:1").run().ends_with(1);
        failed.says("(etcd_unreachable)\nhint: check `endpoints`");
    }
}
