# redis.sh REQUESTS: a redis-server on loopback, kept busy by redis-benchmark.
#
# Debian links its redis-server to libjemalloc, as a shared library: a preloaded malloc takes its
# place like any other, and with the C library itself preloaded glibc's does. So whichever malloc
# is preloaded here is measured; where none is, this script makes it glibc's. jemalloc stays
# loaded and idle: 92 KiB of blocks from its own start, 2.7 MiB resident, the same for all; its
# purging thread, which redis would start, is turned off.
#
# redis-benchmark draws its keys by the clock; so the result, a digest of all data, is of what comes
# after it.
set -eu
requests=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
port=$((20000 + $$ % 20000))

# The server alone runs under the malloc to be measured.
preload=${LD_PRELOAD:-libc.so.6}
unset LD_PRELOAD

LD_PRELOAD=$preload redis-server --port "$port" --bind 127.0.0.1 --dir "$folder" --save '' \
    --appendonly no --jemalloc-bg-thread no --enable-debug-command yes --logfile "$folder/log" &
server=$!
trap 'kill $server 2>/dev/null || :; rm -rf "$folder"' EXIT
tries=0
until redis-cli -p "$port" ping >/dev/null 2>&1; do
    tries=$((tries + 1))
    if [ "$tries" -ge 100 ] || ! kill -0 "$server" 2>/dev/null; then
        echo "redis.sh: the server does not answer" >&2
        exit 1
    fi
    sleep 0.05
done

bench() { redis-benchmark -p "$port" -q -P 32 -c 20 "$@" >/dev/null; }
bench -n "$requests" -r 1000000 -d 100 SET 'key:__rand_int__' __data__
bench -n "$requests" -t set,get,incr,lpush,rpop,sadd,hset -r 50000 -d 300
bench -n "$((requests / 10))" -t mset -r 50000 -d 60
redis-cli -p "$port" flushall
redis-cli -p "$port" eval 'for i = 1, ARGV[1] do
    redis.call("SET", "key:" .. i, string.rep("x", i % 200))
    redis.call("LPUSH", "list:" .. i % 100, i)
    redis.call("HSET", "hash:" .. i % 500, i % 30, i)
end' 0 "$requests"
redis-cli -p "$port" debug digest
redis-cli -p "$port" shutdown nosave
wait "$server"
