# The same compile as scripts/build/index.ts, for an install from source: node-gyp writes
# native/build/Release/libmalloc-*.so. The flags are those of flags.json.
#
# node-gyp expects addons, so some of what it adds is taken away again: its -O3, its large-file
# macros and, by --as-needed and -static-libgcc, the libraries of its C++ linker. Type and prefix are said in each target,
# because in target_defaults node-gyp's own would win. The soname it forces is harmless: nobody
# links against these files, they are preloaded.
{
    'target_defaults': {
        'defines!': ['_FILE_OFFSET_BITS=64', '_LARGEFILE_SOURCE'],
        'cflags!': ['-O3', '-fno-omit-frame-pointer', '-Wno-unused-parameter'],
        'cflags': [
            '<!@(node -p "const f = require(\'./flags.json\'); [f.common, f.release, f.warnings].flat().join(\' \')")',
        ],
        'ldflags!': ['-rdynamic'],
        'ldflags': ['-Wl,--as-needed', '-static-libgcc', '<!@(node -p "require(\'./flags.json\').link.join(\' \')")'],
    },
    'targets': [
        {'target_name': 'malloc-dumb', 'type': 'shared_library', 'product_prefix': 'lib', 'sources': ['dumb.c']},
        {'target_name': 'malloc-list', 'type': 'shared_library', 'product_prefix': 'lib', 'sources': ['list.c']},
        {'target_name': 'malloc-paged', 'type': 'shared_library', 'product_prefix': 'lib', 'sources': ['paged.c']},
        {'target_name': 'malloc-sharded', 'type': 'shared_library', 'product_prefix': 'lib', 'sources': ['sharded.c']},
        {'target_name': 'malloc-probe', 'type': 'shared_library', 'product_prefix': 'lib', 'sources': ['tools/probe.c']},
        {'target_name': 'malloc-layout', 'type': 'shared_library', 'product_prefix': 'lib', 'sources': ['tools/layout.c']},
        {'target_name': 'malloc-trace', 'type': 'shared_library', 'product_prefix': 'lib', 'sources': ['tools/trace.c']},
        {'target_name': 'malloc-operators', 'type': 'shared_library', 'product_prefix': 'lib', 'sources': ['tools/operators.c']},
        {'target_name': 'libmalloc-replay', 'type': 'executable', 'sources': ['tools/replay.c'], 'ldflags!': ['-shared']},
    ],
}
