"""Counts words: INPUT OUTPUT."""
import collections
import sys

with open(sys.argv[1]) as text:
    counts = collections.Counter(text.read().split())
with open(sys.argv[2], "w") as out:
    out.write("word,count\n")
    for word, count in sorted(counts.items()):
        out.write(f"{word},{count}\n")
