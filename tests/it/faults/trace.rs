//! What must hold at every moment: nothing is done without a trace, and nothing is agreed that the two sides do not say.

use super::customers::EXTENDABLE;
use super::town::Town;

/// Notes, when it commits, each change of a row that no entry of the same transaction tells of, but for what customers
/// pay.
pub(super) const WATCH: &str = "
    CREATE TABLE saved.untraced (what text);

    CREATE FUNCTION saved.is_traced(target text, wanted bigint, was text, becomes text) RETURNS boolean LANGUAGE sql AS $$
        SELECT EXISTS (
            SELECT FROM public.marzban_sync_changes
            WHERE xmin = pg_current_xact_id()::xid AND state = 'done' AND column_name = target AND row_id = wanted
              AND old_value IS NOT DISTINCT FROM was AND new_value IS NOT DISTINCT FROM becomes
        )
    $$;

    CREATE FUNCTION saved.moment(value timestamp) RETURNS text LANGUAGE sql AS $$
        SELECT to_char(value, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')
    $$;

    CREATE FUNCTION saved.watch_subscription() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_setting('town.pays', true) = 'on' THEN
                RETURN NULL;
            END IF;
            INSERT INTO saved.untraced
                SELECT concat_ws(' ', target, NEW.id, was, '->', becomes)
                FROM (VALUES
                    ('subscriptions.status', OLD.status, NEW.status),
                    ('subscriptions.end_date', saved.moment(OLD.end_date), saved.moment(NEW.end_date))
                ) AS change (target, was, becomes)
                WHERE was IS DISTINCT FROM becomes AND NOT saved.is_traced(target, NEW.id, was, becomes);
            RETURN NULL;
        END
    $$;

    CREATE FUNCTION saved.watch_vpn_config() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF current_setting('town.pays', true) = 'on' THEN
                RETURN NULL;
            END IF;
            INSERT INTO saved.untraced
                SELECT concat_ws(' ', target, NEW.id, was, '->', becomes)
                FROM (VALUES
                    ('vpn_configs.is_active', OLD.is_active::text, NEW.is_active::text),
                    ('vpn_configs.marzban_user_id', OLD.marzban_user_id, NEW.marzban_user_id)
                ) AS change (target, was, becomes)
                WHERE was IS DISTINCT FROM becomes AND NOT saved.is_traced(target, NEW.id, was, becomes)
                  -- A row that is unlinked has no access by that alone.
                  AND NOT (target = 'vpn_configs.is_active' AND NEW.marzban_user_id IS NULL);
            RETURN NULL;
        END
    $$;

    CREATE CONSTRAINT TRIGGER watch AFTER UPDATE ON subscriptions DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION saved.watch_subscription();
    CREATE CONSTRAINT TRIGGER watch AFTER UPDATE ON vpn_configs DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION saved.watch_vpn_config();";

const UNTRACED: &str = "SELECT coalesce(string_agg(what, ', '), '') FROM saved.untraced";

/// Agreements of users that no row names, and ends that were agreed since, though the row has another one; where a run
/// is undone, the row goes back alone.
const AHEAD: &str = "
    SELECT coalesce(string_agg(concat_ws(' ', username, agreed.agreement ->> 'end'), ', ' ORDER BY username), '')
    FROM marzban_sync_agreements AS agreed
    LEFT JOIN saved.marzban_sync_agreements AS before USING (panel, username)
    LEFT JOIN vpn_configs AS config ON config.marzban_user_id = username
    LEFT JOIN subscriptions AS subscription ON subscription.user_id = config.user_id
    WHERE config.id IS NULL
       OR (agreed.agreement -> 'end') IS DISTINCT FROM (before.agreement -> 'end')
      AND (agreed.agreement #>> '{end, at}')::timestamptz AT TIME ZONE 'UTC' IS DISTINCT FROM subscription.end_date
      AND agreed.agreement ? 'end'
      AND NOT EXISTS (
          SELECT FROM marzban_sync_changes AS change
          WHERE change.username = agreed.username AND change.reason = 'undone'
      )";

/// Whether it was noted before that this is to be done to this panel user.
const INTENDED: &str = "
    SELECT EXISTS (
        SELECT FROM marzban_sync_changes WHERE state = 'intended' AND column_name = $1 AND username = $2
    )::text";

/// All that a run without news must not write: the bot's rows, what was agreed, and the trail.
const OWN: &str = "
    SELECT concat_ws(' ', 'agreement', username, ctid, xmin) FROM marzban_sync_agreements
    UNION ALL SELECT concat_ws(' ', 'change', id) FROM marzban_sync_changes
    ORDER BY 1";

impl Town {
    /// Asserts that whatever was written or done until now left its trace, and that no agreement goes beyond the rows.
    pub(super) async fn assert_traced(&self, when: &str) {
        let untraced = self.bot.text(UNTRACED).await;
        assert_eq!(untraced, "", "{when}: rows were changed without an entry");
        let ahead = self.bot.text(AHEAD).await;
        assert_eq!(ahead, "", "{when}: the rows do not bear out what was agreed");
        let mut extensions = 0;
        for request in self.bot.panel.requests() {
            let Some(name) = request.path.strip_prefix("/api/user/") else {
                continue;
            };
            let target = match request.method.as_str() {
                "PUT" if name == EXTENDABLE => {
                    extensions += 1;
                    "panel.expire"
                }
                "PUT" | "DELETE" => "panel.user",
                _ => continue,
            };
            let row = self
                .bot
                .client
                .query_one(INTENDED, &[&target, &name])
                .await
                .unwrap();
            let is_intended = row.get::<_, String>(0) == "true";
            assert!(
                is_intended,
                "{when}: {} of {name} was not intended",
                request.method
            );
        }
        assert!(extensions <= 1, "{when}: {extensions} extensions for one payment");
    }

    /// All that lies in the database, and which transaction wrote it.
    pub(super) async fn written(&self) -> Vec<String> {
        let mut written = self.bot.places().await;
        let own = self.bot.client.query(OWN, &[]).await.unwrap();
        written.extend(own.iter().map(|row| row.get::<_, String>(0)));
        written
    }
}

#[tokio::test]
async fn what_leaves_no_trace_is_seen() {
    let Some(town) = Town::new().await else { return };
    let changes = "
        UPDATE subscriptions SET status = 'expired', end_date = '2025-09-20' WHERE id = 1;
        UPDATE vpn_configs SET is_active = false WHERE id = 2;
        UPDATE vpn_configs SET marzban_user_id = NULL, is_active = false WHERE id = 3;
        UPDATE marzban_sync_agreements
        SET agreement = jsonb_set(agreement, '{end, at}', '\"2025-12-01T00:00:00Z\"') WHERE username = 'steady'";
    town.bot.sql(changes).await;
    assert_eq!(
        town.bot.text(UNTRACED).await,
        "subscriptions.status 1 active -> expired, \
         subscriptions.end_date 1 2025-09-30T00:00:00.000000Z -> 2025-09-20T00:00:00.000000Z, \
         vpn_configs.is_active 2 true -> false, vpn_configs.marzban_user_id 3 vanished ->"
    );
    assert_eq!(
        town.bot.text(AHEAD).await,
        "steady {\"at\": \"2025-12-01T00:00:00Z\"}, vanished {\"at\": \"2025-09-30T00:00:00Z\"}"
    );
}
