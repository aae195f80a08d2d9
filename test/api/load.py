"""Several clients at once, and a region that is killed in the middle of what they ask for."""
import threading
import time
from collections import Counter


class Load:
    """What workers share. A worker has work(), which asks until load.over or until no answer comes, and says answered() of each."""

    def __init__(self, region, image, seed):
        self.region, self.image, self.seed = region, image, seed
        self.count, self.over, self.surprises, self.refused, self.lock = 0, False, [], Counter(), threading.Lock()
        self.enough = threading.Event()

    def answered(self):
        with self.lock:
            self.count += 1
            if self.count >= self.until:
                self.enough.set()

    def kill_after(self, workers, requests, pause):
        """Lets them work until so many requests were answered and a moment has gone by; then kill -9."""
        self.until, self.over = self.count + requests, False
        self.enough.clear()
        threads = [threading.Thread(target=w.work) for w in workers]
        for thread in threads:
            thread.start()
        self.enough.wait(120)
        time.sleep(pause)
        self.region.kill()
        self.over = True
        for thread in threads:
            thread.join()
