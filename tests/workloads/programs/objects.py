"""Builds and drops trees, dicts and strings of N nodes: the life of ordinary Python objects."""
import random
import sys

nodes = int(sys.argv[1])
draw = random.Random(2)


class Node:
    def __init__(self, key):
        self.key = key
        self.left = self.right = None
        self.label = f"node {key}"


def insert(root, key):
    while True:
        side = "left" if key < root.key else "right"
        below = getattr(root, side)
        if below is None:
            setattr(root, side, Node(key))
            return
        root = below


def words(root):
    stack, count = [root], {}
    while stack:
        node = stack.pop()
        for word in node.label.split() + [node.label[-2:]]:
            count[word] = count.get(word, 0) + 1
        stack.extend(below for below in (node.left, node.right) if below is not None)
    return count


total = 0
for _ in range(4):
    root = Node(nodes // 2)
    for _ in range(nodes):
        insert(root, draw.randrange(nodes))
    count = words(root)
    total += len(count) + max(count.values()) + len(sorted(count.items(), key=lambda pair: pair[1]))
print(total)
