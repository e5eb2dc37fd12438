# The same compile as scripts/build/index.ts, for an install from source: node-gyp writes
# native/build/Release/libmalloc-*.so. The flags are those of flags.json, and the variants are the
# files that declare themselves one.
#
# By rules and not by targets of their own: node-gyp expects addons, and would add its -O3, its
# macros and the libraries of its C++ linker.
{
    'variables': {
        'cc': ['<!@(node -p "process.env.CC || \'cc\'")'],
        'flags': ['<!@(node -p "const f = require(\'./flags.json\'); [f.common, f.release, f.warnings].flat().join(\' \')")'],
        'link': ['<!@(node -p "require(\'./flags.json\').link.join(\' \')")'],
        'libraries': ['<!@(node -p "require(\'./flags.json\').libraries.join(\' \')")'],
    },
    'targets': [
        {
            'target_name': 'libraries',
            'type': 'none',
            'sources': ['<!@(grep -l ^LIBMALLOC_VARIANT *.c)', 'tools/probe.c', 'tools/layout.c', 'tools/trace.c', 'tools/profile.c', 'tools/track.c'],
            'rules': [{
                'rule_name': 'library',
                'extension': 'c',
                'outputs': ['<(PRODUCT_DIR)/libmalloc-<(RULE_INPUT_ROOT).so'],
                'action': ['<@(cc)', '<@(flags)', '<@(link)', '-o', '<@(_outputs)', '<(RULE_INPUT_PATH)', '<@(libraries)'],
                'message': 'compiling <(RULE_INPUT_PATH)',
            }],
        },
        {
            'target_name': 'programs',
            'type': 'none',
            'sources': ['tools/replay.c'],
            'rules': [{
                'rule_name': 'program',
                'extension': 'c',
                'outputs': ['<(PRODUCT_DIR)/libmalloc-<(RULE_INPUT_ROOT)'],
                'action': ['<@(cc)', '<@(flags)', '-o', '<@(_outputs)', '<(RULE_INPUT_PATH)', '<@(libraries)'],
                'message': 'compiling <(RULE_INPUT_PATH)',
            }],
        },
    ],
}
