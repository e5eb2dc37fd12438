import glob, os
folder = os.path.dirname(os.__file__)
files = glob.glob(folder + '/*.py') + glob.glob(folder + '/[a-z]*/*.py')
files = sorted(file for file in files if 'packages' not in file and '/test/' not in file)
for file in files:
    with open(file, encoding='utf-8') as source:
        compile(source.read(), file, 'exec')
print(len(files), 'modules compiled')
