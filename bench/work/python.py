"""A start of the interpreter, and some of what scripts do."""
import json, re

words = [f"word{i * 7919 % 1000}" for i in range(3000)]
count = {}
for word in words:
    count[word] = count.get(word, 0) + 1
primes = [n for n in range(2, 1500) if all(n % k for k in range(2, int(n ** 0.5) + 1))]
text = json.dumps({"primes": primes, "count": sorted(count.items())[:50]})
print(len(re.findall(r"\d+", text)), sum(primes), hash(3 ** 200))
