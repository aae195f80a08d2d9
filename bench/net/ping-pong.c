/*
 * Round trips of one byte over TCP: ping-pong PORT answers; ping-pong PORT HOST COUNT asks, and prints the median and
 * the 99th percentile in microseconds, "P50 P99".
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void serve(int listener)
{
	for (;;) {
		int fd = accept(listener, NULL, NULL), one = 1;
		char c;

		if (fd < 0)
			continue;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		while (read(fd, &c, 1) == 1 && write(fd, &c, 1) == 1)
			;
		close(fd);
	}
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int order(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int ask(int fd, int count)
{
	double *took = calloc((size_t)count, sizeof(*took));
	char c = 'x';

	for (int i = 0; took && i < count; i++) {
		double from = now_us();

		if (write(fd, &c, 1) != 1 || read(fd, &c, 1) != 1) {
			perror("ping-pong");
			return 1;
		}
		took[i] = now_us() - from;
	}
	if (!took)
		return 1;
	qsort(took, (size_t)count, sizeof(*took), order);
	printf("%.1f %.1f\n", took[count / 2], took[count * 99 / 100]);
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	if (argc != 2 && argc != 4)
		return 2;
	to.sin_port = htons((unsigned short)atoi(argv[1]));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (argc == 2) {
		if (bind(fd, (void *)&to, sizeof(to)) < 0 || listen(fd, 8) < 0) {
			perror("ping-pong");
			return 1;
		}
		serve(fd);
	}
	inet_pton(AF_INET, argv[2], &to.sin_addr);
	if (connect(fd, (void *)&to, sizeof(to)) < 0) {
		perror("ping-pong");
		return 1;
	}
	return ask(fd, atoi(argv[3]));
}
