// Other people's programs: each does some typical work, and prints what must not depend on the
// malloc. `$IN` is a folder with `words` (20,000 lines of text), `many` (300,000), `fib.c` and
// `history` (for git fast-import); the current folder is empty. `$N` says how much to do, for
// commands that can vary it: 1 for a malloc whose calls walk all blocks, or that never reuses one,
// else 100.
//
// php runs without extensions (-n), because it loads them with RTLD_DEEPBIND, so that they pass
// blocks of the preloaded malloc to glibc's free; no malloc can prevent that.

export interface RealProgram {
  name: string;
  /** Entries of tests/programs.json; the first is the program that must be proved to use the malloc. */
  needs: string[];
  /** For /bin/sh. */
  command: string;
  env?: Record<string, string>;
  /** The program has a malloc of its own, which takes precedence over a preloaded one. */
  ownMalloc?: true;
  /** Part of the quick selection, which `make test` runs on every variant. */
  quick?: true;
  /** One more input in $IN: its name, and the command that makes it, on glibc, in an empty folder. */
  prepare?: [name: string, make: string];
  /** The variables with which dumb can run it; if absent, dumb cannot. */
  dumb?: Record<string, string>;
  /** Why a variant cannot run it by design. */
  cannot?: Record<string, string>;
}

const one = (name: string, command: string, more: Partial<RealProgram> = {}): RealProgram => ({
  name,
  needs: [name],
  command,
  ...more,
});

const text: RealProgram[] = [
  one('ls', 'ls -lR /usr/include/linux', { quick: true, dumb: { LIBMALLOC_BLOCK: '524288' } }),
  one('sort', 'sort --parallel=4 -S 4M "$IN/many" | tail -n 100000', { quick: true }),
  one('uniq', 'sort "$IN/words" | uniq -c | sort -n | tail -n 100'),
  one('comm', 'sort "$IN/words" >a; head -n 999 "$IN/words" | sort >b; comm -3 a b | tail -n 99'),
  one('join', 'sort -u "$IN/words" | cat -n >a; join a a | tail -n 100'),
  one('cut', 'cut -c 2-4 "$IN/words" | sort -u | wc -l; paste "$IN/words" "$IN/words" | tail -n 9'),
  one('split', 'split -n 7 "$IN/words" x; cat x* | cmp - "$IN/words"; ls'),
  one('csplit', 'csplit -s "$IN/words" 100 200 {9}; ls | wc -l'),
  one('od', 'od -A x -t x1z "$IN/words" | tail -n 50; sha256sum <"$IN/words"'),
  one('factor', 'seq 1000000 1002000 | factor | tail -n 20; expr 12345678901234567890 \\* 9876543'),
  one(
    'tsort',
    'seq 2000 | paste -d " " - - | tsort | wc -l; seq 300 | shuf --random-source="$IN/words" | tac',
  ),
  one(
    'grep',
    'grep -R -c "define" /usr/include/linux | sort | tail -n 30; grep -E "(a|b)+c{1,2}[^d]" "$IN/words"',
  ),
  one('grep a tree', '[ $N = 1 ] && some=/linux; grep -R "" /usr/include$some | sha256sum', {
    needs: ['grep'],
    quick: true,
    dumb: { LIBMALLOC_BLOCK: '131072' },
  }),
  one('sed', 'sed -E "s/(.)(.)/\\2\\1/g; y/abc/xyz/; \\$!N; P; D" "$IN/words" | tail -n 99'),
  one(
    'awk',
    'head -n $((N * 1000)) "$IN/many" | awk \'{ seen[$1]++ } END { for (w in seen) if (seen[w] > 1) print w, seen[w] }\' | sort',
    { quick: true, dumb: {} },
  ),
  one(
    'gawk',
    'gawk \'{ a[$1] = a[$1] $2 } END { n = asorti(a, k); for (i = 1; i <= n; i++) print k[i], length(a[k[i]]) }\' "$IN/words"',
  ),
  one(
    'diff',
    'sort "$IN/words" >a; sort -r "$IN/words" >b; diff a b | wc -l; diff -u a "$IN/words" | tail -n 20',
  ),
  one('patch', 'cp "$IN/fib.c" a; sed s/25/20/ a >b; diff -u a b >d; patch a d && cmp a b'),
  one('ed', 'cp "$IN/words" w; printf "g/a/s//A/g\\n1,\\$p\\nq\\nq\\n" | ed -s w | tail -n 50'),
  one('find', "find /usr/include -name '*.h' -size +4k -printf '%p %s\\n'", {
    quick: true,
    dumb: {},
  }),
  one(
    'xargs',
    'find /usr/include/linux -type f -print0 | sort -z | xargs -0 -n 20 -P 2 cat | wc -c',
  ),
  one('bc', 'echo "scale=300; 4*a(1); 2^2000" | bc -l'),
  one('m4', 'printf "define(f,\\`ifelse(\\$1,0,0,\\`x f(decr(\\$1))\')\')f(500)\\n" | m4 | wc -c'),
  one(
    'jq',
    'seq 3000 | jq -s "map({k: tostring, v: (. * .)} | .k + (.v | tostring)) | add | length"',
  ),
  one(
    'xmllint',
    '(echo "<r>"; sed "s/.*/<w>&<\\/w>/" "$IN/words"; echo "</r>") >x; xmllint --format x | sha256sum; xmllint --xpath "count(//w)" x',
  ),
];

const archives: RealProgram[] = [
  one(
    'tar',
    "tar cf - -C /usr/include linux | tar xf - && find linux -type f -printf '%p %s\\n' | sort",
    { quick: true, dumb: {} },
  ),
  one('gzip', 'gzip -9n <"$IN/many" >w.gz && gzip -dc w.gz | cmp - "$IN/many" && wc -c <w.gz', {
    quick: true,
    dumb: {},
  }),
  one('bzip2', 'bzip2 -9 <"$IN/words" | tee w | bzip2 -d | cmp - "$IN/words" && wc -c <w'),
  one('xz', 'xz -T 2 -6 <"$IN/words" | tee w | xz -d | cmp - "$IN/words" && wc -c <w'),
  one('zstd', 'zstd -q -T2 -12 <"$IN/words" | tee w | zstd -dq | cmp - "$IN/words" && wc -c <w'),
  one('lz4', 'lz4 -q -9 <"$IN/words" | tee w | lz4 -dq | cmp - "$IN/words" && wc -c <w'),
  one(
    'zip',
    'zip -qX w.zip -j "$IN/words" "$IN/fib.c" && unzip -p w.zip words | cmp - "$IN/words" && unzip -l w.zip | wc -l',
    { needs: ['zip', 'unzip'] },
  ),
  one(
    'rsync',
    'rsync -a /usr/include/linux/ copy && rsync -an --itemize-changes /usr/include/linux/ copy | wc -l; find copy -type f | wc -l',
  ),
];

const node =
  'node keeps so many blocks alive that a walk past all of them takes 40 s before its first line';

const languages: RealProgram[] = [
  one(
    'sh',
    'sh -c \'i=0; while [ $i -lt 3000 ]; do s="$s$i"; i=$((i + 1)); done; echo $s | wc -c\'',
  ),
  one(
    'bash',
    "bash -c 'declare -A a; for i in {1..5000}; do a[$i]=$((i * i)); done; declare -p a | wc -c'",
  ),
  one(
    'perl',
    'head -n $((N * 1000)) "$IN/many" | perl -ne \'$h{$1}{$2}++ while /(..)(\\w+)/g; END { print "$_ ", scalar(keys %{$h{$_}}), "\\n" for sort keys %h }\'',
    { quick: true, dumb: {} },
  ),
  one(
    'python3',
    '/usr/bin/python3 -c \'import json, re, hashlib, os; d = json.dumps({str(i): [i] * 3 for i in range(int(os.environ["N"]) * 300)}); print(len(d), hashlib.sha256(d.encode()).hexdigest(), len(re.findall("[1-3]+", d)))\'',
    { env: { PYTHONMALLOC: 'malloc' }, quick: true },
  ),
  one(
    'python3 threads',
    "/usr/bin/python3 -c 'from concurrent.futures import ThreadPoolExecutor as T, ProcessPoolExecutor as P\ndef f(n): return sum(len(str(i)) for i in range(n))\nprint(sum(T(4).map(f, range(2000, 2100))), sum(P(2).map(f, range(100))))'",
    { needs: ['python3'], env: { PYTHONMALLOC: 'malloc' } },
  ),
  one(
    'python3 tests',
    '/usr/bin/python3 -m test -q test_json test_dict test_list test_re test_struct test_zlib 2>&1 | grep -c "^Result: SUCCESS\\|Tests result: SUCCESS"',
    { needs: ['python3', 'python3 tests'], env: { PYTHONMALLOC: 'malloc' } },
  ),
  one(
    'ruby',
    'ruby -e \'h = Hash.new(0); File.foreach(ENV["IN"] + "/words") { |l| l.split.each { |w| h[w] += 1 } }; puts h.size, h.max_by { |k, v| [v, k] }.inspect; GC.start; puts (1..20).map { |i| Thread.new { (1..i * 100).map(&:to_s).join.size } }.sum(&:value)\'',
  ),
  one(
    'lua',
    'lua5.4 -e \'local t = {} for i = 1, 100000 do t[i] = tostring(i) .. "x" end print(#table.concat(t)) collectgarbage() print(#t)\'',
  ),
  one(
    'tclsh',
    "printf 'for {set i 0} {$i < 20000} {incr i} { dict set d $i [expr $i * $i] }\\nputs [dict size $d]\\nputs [string length $d]\\n' | tclsh",
  ),
  one(
    'guile',
    "guile --no-auto-compile -c '(display (length (let loop ((i 0) (l (list))) (if (= i 100000) l (loop (+ i 1) (cons (number->string i) l))))))'",
  ),
  one(
    'php',
    'php -n -r \'$a = []; for ($i = 0; $i < 50000; $i++) $a["k$i"] = str_repeat("x", $i % 50); ksort($a); echo count($a), " ", md5(implode($a)), "\\n";\'',
    { env: { USE_ZEND_ALLOC: '0' } },
  ),
  one(
    'node',
    '"$NODE" -e \'const m = new Map(); for (let i = 0; i < 1000 * process.env.N; i++) m.set("k" + i, Buffer.alloc(i % 5000)); console.log(m.size)\'',
    { needs: [], quick: true, cannot: { list: node } },
  ),
  one(
    'node workers',
    '"$NODE" -e \'const { Worker } = require("worker_threads"); let n = 0; let left = 4; for (let i = 0; i < 4; i++) new Worker("require(\\"worker_threads\\").parentPort.postMessage(Array.from({ length: 30000 }, (_, i) => String(i)).join(\\"\\").length)", { eval: true }).on("message", (k) => { n += k; }).on("exit", () => { if (--left === 0) console.log(n); });\'',
    { needs: [], cannot: { list: node } },
  ),
  one(
    'java',
    'printf "public class A { public static void main(String[] a) throws Exception { var m = new java.util.TreeMap<String, Integer>(); for (int i = 0; i < 100000; i++) m.put(String.valueOf(i), i); var t = new Thread[4]; for (int i = 0; i < 4; i++) (t[i] = new Thread(() -> new byte[5000000].hashCode())).start(); for (var x : t) x.join(); System.out.println(m.size() + m.firstKey()); } }" >A.java && javac -J-Xshare:off A.java && java -Xmx256m A',
  ),
];

const builders: RealProgram[] = [
  one('gcc', 'gcc -O2 -g "$IN/fib.c" -o f && ./f && gcc -O2 -S -o - "$IN/fib.c" | sha256sum', {
    quick: true,
  }),
  one(
    'g++',
    'printf "#include <map>\\n#include <string>\\n#include <iostream>\\nint main() { std::map<int, std::string> m; for (int i = 0; i < 9999; i++) m[i * 7919 %% 10007] = std::to_string(i); std::cout << m.size() << m.begin()->second << std::endl; }" >a.cc && g++ -O1 a.cc && ./a.out',
  ),
  one('clang', 'clang -O2 -S -o - "$IN/fib.c" | sha256sum', { needs: ['clang++'] }),
  one(
    'binutils',
    'gcc -c "$IN/fib.c" -o f.o && nm f.o && readelf -s f.o | wc -l && objdump -d f.o | sha256sum && strip f.o && size f.o',
    { needs: ['nm', 'gcc'] },
  ),
  one(
    'make',
    'for i in $(seq 60); do printf "t$i: ; @echo $i >t$i\\n"; done >M; echo "all: $(seq -s " " -f "t%g" 60) ; @cat t* | sort -n | tail -n 3" >>M; make -s -j 2 -f M all',
  ),
  one(
    'cmake',
    'printf "cmake_minimum_required(VERSION 3.10)\\nproject(f C)\\nadd_executable(f $IN/fib.c)\\n" >CMakeLists.txt && cmake -S . -B b >/dev/null && cmake --build b >/dev/null && b/f',
  ),
  one(
    'bison',
    'printf "%%token N\\n%%left A\\n%%%%\\ne: e A e | N ;\\n%%%%\\n" >p.y && bison -v p.y && wc -l <p.output && grep -c case p.tab.c',
  ),
  one(
    'flex',
    'printf "%%%%\\n[a-z]+ ECHO;\\n[0-9]+ ;\\n%%%%\\nint yywrap(void) { return 1; }\\nint main(void) { yylex(); }\\n" >l.l && flex -o l.c l.l && wc -l <l.c',
  ),
  one(
    'git',
    'git init -q . && for i in 1 2 3 4 5 6 7 8; do head -n $((i * 200)) "$IN/words" >w; git add w; git -c user.name=a -c user.email=b commit -qm $i; done; git log --format=%s --stat | cat; git gc -q && git fsck 2>&1 | wc -l; git blame -s w | tail -n 3 | cut -c 9-',
    {
      env: {
        GIT_AUTHOR_DATE: '1700000000 +0000',
        GIT_COMMITTER_DATE: '1700000000 +0000',
        HOME: '/nonexistent',
      },
    },
  ),
  one('git log', 'git -C "$IN/repository" log --stat --patch -n $((N * 3))', {
    needs: ['git'],
    quick: true,
    prepare: [
      'repository',
      'git init --quiet --bare repository; cd repository; git fast-import --quiet <"$IN/history"; git symbolic-ref HEAD refs/heads/main',
    ],
    dumb: { LIBMALLOC_BLOCK: '524288' },
  }),
  one(
    'gdb',
    'gcc -g "$IN/fib.c" -o f && gdb -q -batch -nx -ex "break main" -ex run -ex next -ex "info locals" -ex bt f 2>&1 | grep -c "main ("',
    { needs: ['gdb', 'gcc'] },
  ),
];

const services: RealProgram[] = [
  one(
    'openssl',
    'openssl dgst -sha512 "$IN/words" | cut -d" " -f2; openssl enc -aes-256-cbc -pbkdf2 -S 0011223344556677 -k x -in "$IN/words" | sha256sum; openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 2>/dev/null | openssl pkey -noout -check 2>&1',
  ),
  one(
    'curl',
    'curl -s "file://$IN/words" | sha256sum; curl -s "file://$IN/fib.c" -o f && wc -c <f',
  ),
  one(
    'sqlite3',
    'n=$((N * 500)); sqlite3 :memory: "create table t(a integer primary key, b text); with recursive c(i) as (select 1 union all select i + 1 from c where i < $n) insert into t select i, hex(i * i) from c; create index b on t(b); select count(*), sum(length(b)), max(b) from t;"',
    { quick: true, dumb: {} },
  ),
  one(
    'redis-server',
    'redis-server --port 0 --unixsocket $PWD/s --save "" --daemonize no >/dev/null & for i in $(seq 100); do redis-cli -s s ping >/dev/null 2>&1 && break; sleep 0.1; done; redis-benchmark -s s -q -n 3000 -P 10 -t set,lpush,lrange_100 >/dev/null; redis-cli -s s dbsize; redis-cli -s s llen mylist; redis-cli -s s shutdown nosave; wait',
    { needs: ['redis-server', 'redis-cli', 'redis-benchmark'] },
  ),
  one(
    'postgresql',
    'B=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1); D=$(mktemp -d /tmp/libmalloc-pg-XXXXXX); [ "$(id -u)" = 0 ] && chown nobody "$D" && AS="setpriv --reuid=nobody --clear-groups"; cd "$D"; $AS $B/initdb -D d -A trust -N >/dev/null && $AS $B/pg_ctl -s -w -D d -l log -o "-h \'\' -k $D" start && $AS $B/pgbench -h "$D" -U nobody -i -q postgres 2>/dev/null; $AS $B/pgbench -h "$D" -U nobody -c 4 -j 2 -t 50 postgres 2>/dev/null | grep "actually processed"; $AS $B/psql -h "$D" -U nobody -Atc "select count(*), sum(aid) from pgbench_accounts" postgres; $AS $B/pg_ctl -s -D d stop; cd /; rm -rf "$D"',
    { needs: ['postgresql'], env: { USER: 'nobody' } },
  ),
  one(
    'z3',
    "printf '(declare-const x Int)(declare-const y Int)(assert (= (+ (* x x) (* y y)) 2725))(assert (> x y))(assert (> y 0))(check-sat)(get-value ((+ (* x x) (* y y))))' | z3 -in",
  ),
  one(
    'vim',
    "vim -es -N -u NONE -i NONE -c 'r '\"$IN/words\" -c '%s/a/bb/g' -c 'sort u' -c 'w! out' -c 'qa!' </dev/null; sha256sum <out",
  ),
  one(
    'gs',
    'printf "%%!PS\\n1 1 40 { 10 mul dup moveto 0 0 rlineto 100 100 lineto stroke } for showpage\\n" >p.ps && gs -q -dSAFER -dBATCH -dNOPAUSE -sDEVICE=ppmraw -r50 -sOutputFile=- p.ps | sha256sum',
  ),
  one(
    'dot',
    '(echo "digraph {"; seq 2 200 | awk \'{ print int($1 / 2) " -> " $1 }\'; echo "}") | dot -Tplain | sha256sum',
  ),
  one('gnuplot', 'gnuplot -e "set term dumb; plot sin(x), x**2" | sha256sum'),
  one(
    'sox',
    'sox -n -r 8000 -D a.wav synth 3 sine 300-3000 && sox -D a.wav -r 11025 b.wav reverb && sox b.wav -n stat 2>&1 | grep "Length"',
  ),
  one(
    'stress-ng',
    'stress-ng --vm 2 --vm-bytes 32M --vm-ops 400 --malloc 2 --malloc-ops 20000 --verify -t 20 >log 2>&1; echo $?; grep -c "fail" log',
  ),
  one(
    'chromium',
    'chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$PWD/p" --dump-dom "data:text/html,<p id=a></p><script>document.getElementById(\'a\').textContent=[...Array(9).keys()].join()</script>" 2>/dev/null',
    { ownMalloc: true },
  ),
];

export const realPrograms: RealProgram[] = [
  ...text,
  ...archives,
  ...languages,
  ...builders,
  ...services,
];
