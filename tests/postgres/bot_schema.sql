CREATE TABLE users (
    id serial PRIMARY KEY,
    telegram_id bigint UNIQUE,
    language varchar(8) NOT NULL,
    created_at timestamp NOT NULL
);
CREATE TABLE subscriptions (
    id serial PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users (id),
    plan_id integer NOT NULL,
    price numeric(10, 2) NOT NULL,
    status varchar(20) NOT NULL,
    start_date timestamp,
    end_date timestamp,
    updated_at timestamp
);
CREATE INDEX subscriptions_user_id ON subscriptions (user_id);
CREATE TABLE vpn_configs (
    id serial PRIMARY KEY,
    user_id integer NOT NULL REFERENCES users (id),
    protocol varchar(20) NOT NULL,
    marzban_user_id varchar(255) UNIQUE,
    is_active boolean,
    traffic_used bigint,
    last_connected_at timestamp,
    updated_at timestamp
);
CREATE INDEX vpn_configs_user_id ON vpn_configs (user_id);
