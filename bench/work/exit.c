/* The smallest static program, for the row that starts one. */
int main(void)
{
	return 0;
}
