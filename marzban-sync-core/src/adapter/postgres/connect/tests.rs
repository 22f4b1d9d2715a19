use super::*;

const SECRET: &str = "hunter2";

#[track_caller]
fn refused(url: &str) -> String {
    match pool(url) {
        Ok(_) => panic!("{url} was taken"),
        Err(error) => {
            assert_eq!(error.kind(), StoreErrorKind::Invalid);
            assert!(!format!("{error:?}").contains(SECRET), "{error:?}");
            chain(&error)
        }
    }
}

#[track_caller]
fn encryption(url: &str) -> Encryption {
    let (config, _tls) = Target::parse(url).unwrap().into_parts().unwrap();
    config.get_ssl_mode()
}

#[test]
fn sslmode_says_whether_to_encrypt() {
    assert_eq!(encryption("postgres://u@db.example/x"), Encryption::Prefer);
    assert_eq!(
        encryption("postgres://u@db.example/x?sslmode=allow"),
        Encryption::Prefer
    );
    assert_eq!(
        encryption("postgres://u@db.example/x?sslmode=disable"),
        Encryption::Disable
    );
    assert_eq!(
        encryption("postgresql://u@db.example/x?sslmode=require"),
        Encryption::Require
    );
    assert_eq!(
        encryption("postgres://u@db.example/x?sslmode=verify-full"),
        Encryption::Require
    );
    assert_eq!(
        encryption("postgres://u@db.example/x?sslmode=verify-ca&sslrootcert=system"),
        Encryption::Require
    );
}

#[test]
fn the_systems_authorities_are_never_named_for_nothing() {
    for options in [
        "sslrootcert=system&sslmode=disable",
        "sslmode=disable&sslrootcert=system",
    ] {
        let url = format!("postgres://u@db.example/x?{options}");
        assert_eq!(Target::parse(&url).unwrap().ssl_mode, SslMode::VerifyFull);
    }
}

#[test]
fn an_address_without_a_host_name_is_encrypted_as_it_says() {
    assert_eq!(
        encryption("postgres:///x?hostaddr=192.0.2.1&sslmode=require"),
        Encryption::Require
    );
}

#[test]
fn a_unix_socket_is_never_encrypted() {
    assert_eq!(
        encryption("postgres://u@%2Ftmp%2Fpg/x?sslmode=require"),
        Encryption::Disable
    );
}

#[test]
fn options_that_are_not_given_have_defaults_and_those_given_stay() {
    let Target { config, .. } = Target::parse("postgres://u@h/x").unwrap();
    assert_eq!(config.get_application_name(), Some("marzban-sync"));
    assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));

    let url = "postgres://u@h/x?application_name=bot&sslmode=require&connect_timeout=3";
    let Target { config, ssl_mode, .. } = Target::parse(url).unwrap();
    assert_eq!(config.get_application_name(), Some("bot"));
    assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
    assert_eq!(ssl_mode, SslMode::Require);
}

#[test]
fn a_password_may_hold_a_question_mark() {
    let Target { config, ssl_mode, .. } = Target::parse("postgres://u:p?a&b=c@h/x?sslmode=disable").unwrap();
    assert_eq!(config.get_password(), Some(b"p?a&b=c".as_slice()));
    assert_eq!(config.get_dbname(), Some("x"));
    assert_eq!(ssl_mode, SslMode::Disable);
}

#[test]
fn a_root_certificate_is_a_percent_encoded_path() {
    let Target { ssl_root_cert, .. } =
        Target::parse("postgres://u@h/x?sslrootcert=%2Fetc%2Fa%20b.pem").unwrap();
    assert_eq!(ssl_root_cert, Some(PathBuf::from("/etc/a b.pem")));
}

#[test]
fn what_cannot_be_read_is_refused_without_repeating_it() {
    assert_eq!(
        refused("mysql://u:hunter2@h/x"),
        "the PostgreSQL URL does not begin with postgres:// or postgresql://"
    );
    assert_eq!(
        refused("postgres://u:hunter2@h/x?sslmode=hunter2"),
        "sslmode of the PostgreSQL URL is none of disable, allow, prefer, require, verify-ca and verify-full"
    );
    let unreadable = "the PostgreSQL URL cannot be read: it must be like postgres://user:password@host:port/database, \
        with special characters percent-encoded, and only options that are known";
    assert_eq!(refused("postgres://u:p@h/x?hunter2=a"), unreadable);
    assert_eq!(refused("postgres://u:p@h:hunter2/x"), unreadable);
    assert_eq!(
        refused("postgres://u:hunter2@h/x?sslrootcert=%2"),
        "sslrootcert of the PostgreSQL URL is not percent-encoded UTF-8"
    );
}

#[test]
fn a_root_certificate_that_is_not_there_is_refused_before_anything_is_sent() {
    let said = refused("postgres://u:hunter2@h/x?sslmode=verify-full&sslrootcert=%2Fnowhere%2Froot.pem");
    assert!(
        said.starts_with("cannot read sslrootcert of the PostgreSQL URL: "),
        "{said}"
    );
}
