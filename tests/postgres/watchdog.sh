# Makes a cluster of the programs in $1 in the folder $2, says "ready", and removes it when standard input closes,
# which it does when the test process ends, also when that is killed.
programs=$1 folder=$2
{
    "$programs/initdb" --no-sync --auth=trust --username=postgres --encoding=UTF8 --no-locale -D "$folder/data" &&
    cat >>"$folder/data/postgresql.conf" <<CONF &&
listen_addresses = ''
unix_socket_directories = '$folder'
max_connections = 200
fsync = off
synchronous_commit = off
full_page_writes = off
CONF
    "$programs/pg_ctl" --wait -D "$folder/data" -l "$folder/server.log" start
} >"$folder/start.log" 2>&1 || exit 1
# Who would read it may be gone already, and this must outlive that.
trap '' PIPE
echo ready 2>/dev/null
cat >/dev/null
"$programs/pg_ctl" -D "$folder/data" -m immediate stop >/dev/null 2>&1
cd / && rm -rf "$folder"
