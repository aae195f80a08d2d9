/* insula serve: the region. */
#include "api/server.h"
#include "api/throttle.h"
#include "api/traffic.h"
#include "base/log.h"
#include "cli/place.h"
#include "cli/verbs.h"
#include "host/cgroup.h"
#include "host/firmware.h"
#include "region/agent.h"
#include "region/host_health.h"
#include "region/network_agent.h"
#include "region/public_pool.h"
#include "region/resource.h"
#include "region/schedule.h"
#include "region/volume_plug.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
        "usage: insula serve [OPTION]...\n\n"
        "The region: answers AWS's tools at one endpoint.\n\n"
        "  --data DIR            where state lives (default /var/lib/insula for root)\n"
        "  --listen ADDR:PORT    (default 127.0.0.1:8773)\n"
        "  --database URL        sqlite:PATH (default sqlite:DIR/region.db)\n"
        "  --check-database MIB  a database of up to this size is checked for damage before it is served, a\n"
        "                        larger one meanwhile (default 64)\n"
        "  --regions LIST        offer only these, separated by commas (default: any name)\n"
        "  --account NUMBER      the account's twelve digits (default 123456789012)\n"
        "  --simulate-hosts N    N hosts that only pretend; no machine is started\n"
        "  --accel auto|kvm|soft, --soft-engine interpret|translate   what machines run on\n"
        "  --firmware FILE       what disks with a boot loader boot by (default: SeaBIOS, if installed)\n"
        "  --public-pool CIDR    public addresses (default 198.18.0.0/15), which this machine routes to\n"
        "                        instances, but for the last, which is its own\n"
        "  --no-network          instances have no interfaces\n"
        "  --host-timeout SECONDS   a host that has not answered for so long is lost (default 15)\n"
        "  --keep-usage DAYS     how long ended runs stay metered (default 400; 0: for ever)\n"
        "  --metrics loopback|any|off   who may read /metrics (default: this machine)\n"
        "  --throttle off|aws|FACTOR   limits of requests, as EC2 has them or so many times that\n"
        "                        (default 1000)\n"
        "  --tls-certificate FILE --tls-key FILE   serve https\n"
        "  --log FILE|-          the log, as JSON, to a file (opened anew at SIGHUP) or standard output\n"
        "  --log-level error|warning|info|debug   (default info with --log, else warning)\n"
        "  --verbose             as --log-level info\n";

enum { CHECK_BYTES = 64 << 20 };

/* What --public-pool says is kept; addresses that were given out stay as they are. */
static bool set_pool(struct cloud *c, const char *text)
{
	struct cidr pool;
	char canonical[CIDR_TEXT];

	if (!text)
		return true;
	if (cidr_parse(&pool, text) < 0 || pool.first.v6 || pool.length < 8 || pool.length > 29)
		return false;
	cidr_write(canonical, pool);
	cloud_set(c, "public-pool", canonical);
	return true;
}

static void wake_server(void *ctx)
{
	server_wake(ctx);
}

/* Networks for machines, if this process can make them. */
static void begin_network(struct agent *agent, struct server *server)
{
	struct error e;

	agent->network = network_agent_new(agent->cloud, wake_server, server, &e);
	if (!agent->network && geteuid() == 0)
		log_warn("instances have no network: %s", e.text);
	else if (!agent->network)
		log_info("instances have no network of their VPC: %s", e.text);
}

static void run_agent(void *ctx)
{
	agent_run(ctx);
}

int serve_main(int argc, char **argv)
{
	static const struct option longs[] = {{"data", required_argument, 0, 'd'},
	                                      {"listen", required_argument, 0, 'l'},
	                                      {"database", required_argument, 0, 'b'},
	                                      {"check-database", required_argument, 0, 'C'},
	                                      {"regions", required_argument, 0, 'r'},
	                                      {"account", required_argument, 0, 'a'},
	                                      {"tls-certificate", required_argument, 0, 'c'},
	                                      {"tls-key", required_argument, 0, 'k'},
	                                      {"simulate-hosts", required_argument, 0, 's'},
	                                      {"accel", required_argument, 0, 'x'},
	                                      {"soft-engine", required_argument, 0, 'e'},
	                                      {"firmware", required_argument, 0, 'f'},
	                                      {"keep-usage", required_argument, 0, 'u'},
	                                      {"metrics", required_argument, 0, 'm'},
	                                      {"throttle", required_argument, 0, 't'},
	                                      {"public-pool", required_argument, 0, 'p'},
	                                      {"no-network", no_argument, 0, 'n'},
	                                      {"host-timeout", required_argument, 0, 'o'},
	                                      {"log", required_argument, 0, 'L'},
	                                      {"log-level", required_argument, 0, 'V'},
	                                      {"verbose", no_argument, 0, 'v'},
	                                      {"help", no_argument, 0, 'h'},
	                                      {0}};
	char place[4096], endpoint[512];
	struct cloud_options cloud_options = {.data = place_default(place, sizeof(place)),
	                                      .check = {true, CHECK_BYTES}};
	struct server_options options = {.listen = "127.0.0.1:8773"};
	struct server *server;
	struct cloud cloud;
	struct error e;
	struct agent agent = {.cloud = &cloud,
	                      .keep_usage_days = USAGE_KEEP_DAYS,
	                      .host_timeout_ms = HOST_TIMEOUT_S * 1000};
	struct front api = {.cloud = &cloud, .agent = &agent, .begun_ms = cloud_now_ms()};
	double factor = THROTTLE_DEFAULT;
	char cgroup[CGROUP_PATH];
	struct error no_cgroup = {0};
	unsigned simulated = 0;
	const char *log = NULL, *pool = NULL;
	int option, status = 0, level = -1;
	bool ready, network = true;
	char *end;

	while ((option = getopt_long(argc, argv, "h", longs, NULL)) != -1) {
		switch (option) {
		case 'd':
			cloud_options.data = optarg;
			break;
		case 'l':
			options.listen = optarg;
			break;
		case 'b':
			cloud_options.database = optarg;
			break;
		case 'C':
			cloud_options.check.check_bytes = (s64)(strtoul(optarg, &end, 10) * MiB);
			if (*end || !*optarg || cloud_options.check.check_bytes > (s64)(1000000 * MiB)) {
				fprintf(stderr,
				        "insula serve: --check-database %s: must be a number of MiB\n",
				        optarg);
				return 2;
			}
			break;
		case 'r':
			cloud_options.regions = optarg;
			break;
		case 'a':
			cloud_options.account = optarg;
			break;
		case 'c':
			options.certificate = optarg;
			break;
		case 'k':
			options.key = optarg;
			break;
		case 's':
			simulated = (unsigned)strtoul(optarg, &end, 10);
			if (*end || !*optarg || simulated > 100000) {
				fprintf(stderr,
				        "insula serve: --simulate-hosts %s: must be a number up to 100000\n",
				        optarg);
				return 2;
			}
			break;
		case 'x':
			agent.accel = optarg;
			break;
		case 'e':
			agent.engine = optarg;
			break;
		case 'f':
			if (!(agent.firmware = firmware_find(optarg, &e))) {
				fprintf(stderr, "insula serve: --firmware: %s\n", e.text);
				return 2;
			}
			break;
		case 'm':
			if (!strcmp(optarg, "loopback"))
				options.metrics = METRICS_LOOPBACK;
			else if (!strcmp(optarg, "any"))
				options.metrics = METRICS_ANY;
			else if (!strcmp(optarg, "off"))
				options.metrics = METRICS_OFF;
			else {
				fprintf(stderr, "insula serve: --metrics %s: must be loopback, any or off\n",
				        optarg);
				return 2;
			}
			break;
		case 't':
			if (!throttle_parse(optarg, &factor)) {
				fprintf(stderr, "insula serve: --throttle %s: must be off, aws or a number\n",
				        optarg);
				return 2;
			}
			break;
		case 'o':
			agent.host_timeout_ms = 1000LL * (s64)strtoul(optarg, &end, 10);
			if (*end || !*optarg || agent.host_timeout_ms <= 0 ||
			    agent.host_timeout_ms > 86400000) {
				fprintf(stderr,
				        "insula serve: --host-timeout %s: must be a number of seconds\n",
				        optarg);
				return 2;
			}
			break;
		case 'p':
			pool = optarg;
			break;
		case 'n':
			network = false;
			break;
		case 'L':
			log = optarg;
			break;
		case 'V':
			for (level = LOG_ERROR; level <= LOG_DEBUG; level++)
				if (!strcmp(optarg, log_level_name((enum log_level)level)))
					break;
			if (level > LOG_DEBUG) {
				fprintf(stderr,
				        "insula serve: --log-level %s: must be error, warning, info or "
				        "debug\n",
				        optarg);
				return 2;
			}
			break;
		case 'u':
			agent.keep_usage_days = (unsigned)strtoul(optarg, &end, 10);
			if (*end || !*optarg || agent.keep_usage_days > 36500) {
				fprintf(stderr, "insula serve: --keep-usage %s: must be a number of days\n",
				        optarg);
				return 2;
			}
			break;
		case 'v':
			level = LOG_INFO;
			break;
		case 'h':
			return fputs(help, stdout) < 0 || fflush(stdout);
		default:
			return 2;
		}
	}
	if (optind < argc || !options.certificate != !options.key) {
		fprintf(stderr, "insula serve: %s\n",
		        optind < argc ? "takes no arguments (see 'insula serve --help')"
		                      : "--tls-certificate and --tls-key go together");
		return 2;
	}
	if (level >= 0 || log)
		log_set_level(level >= 0 ? (enum log_level)level : LOG_INFO);
	if (log && log_open(log, &e) < 0) {
		fprintf(stderr, "insula serve: %s\n", e.text);
		return 1;
	}
	status = cloud_lock(cloud_options.data, &e);
	if (status) {
		fprintf(stderr, "insula serve: %s\n", e.text);
		return status == CLOUD_SERVED ? 2 : 1;
	}
	if (cloud_open(&cloud, &cloud_options, &e) < 0) {
		fprintf(stderr, "insula serve: %s\n", e.text);
		return 1;
	}
	api.traffic = traffic_new();
	api.throttle = factor > 0 ? throttle_new(factor) : NULL;
	ready = api.traffic && (api.throttle || factor == 0);
	server = ready ? server_new(&api, &options, &e) : NULL;
	if (!server) {
		if (!ready)
			error_set(&e, 0, "no memory");
		fprintf(stderr, "insula serve: %s\n", e.text);
		cloud_close(&cloud);
		return 1;
	}
	snprintf(endpoint, sizeof(endpoint), "%s://%.*s:%u", options.certificate ? "https" : "http",
	         (int)(strrchr(options.listen, ':') - options.listen), options.listen, server_port(server));
	database_begin(cloud.db);
	schedule_hosts(&cloud, simulated);
	resource_index(&cloud);
	cloud_set(&cloud, "endpoint", endpoint);
	if (!set_pool(&cloud, pool)) {
		fprintf(stderr, "insula serve: --public-pool %s: must be a block of IPv4, /8 to /29\n", pool);
		database_rollback(cloud.db);
		server_free(server);
		cloud_close(&cloud);
		return 2;
	}
	if (database_commit(cloud.db, &e) < 0) {
		fprintf(stderr, "insula serve: %s\n", e.text);
		server_free(server);
		cloud_close(&cloud);
		return 1;
	}
	if (!simulated && cgroup_setup("", cgroup, sizeof(cgroup), &no_cgroup) == 0)
		agent.cgroup = cgroup;
	else if (!simulated)
		log_info("instances run without limits of CPU and memory, and t types are not throttled: %s",
		         no_cgroup.text);
	agent.no_cgroup = no_cgroup.text;
	if (!simulated && network)
		begin_network(&agent, server);
	agent.plug = volume_plug_new(&cloud, wake_server, server);
	server_every(server, AGENT_PERIOD_MS, run_agent, &agent);
	printf("insula: serving at %s\n", endpoint);
	fflush(stdout);
	if (server_run(server, &e) < 0) {
		fprintf(stderr, "insula serve: %s\n", e.text);
		status = 1;
	}
	network_agent_free(agent.network);
	volume_plug_free(agent.plug);
	server_free(server);
	traffic_free(api.traffic);
	throttle_free(api.throttle);
	block_jobs_end(&agent.jobs);
	cloud_close(&cloud);
	return status;
}
