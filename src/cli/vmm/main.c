/* `insula vmm` alone, without the region and its libraries: what `insula` becomes for that verb. */
#include "vmm/vmm.h"

int main(int argc, char **argv)
{
	return argc < 2 ? 2 : vmm_main(argc - 1, argv + 1);
}
