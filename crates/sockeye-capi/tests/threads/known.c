/* Calls a case of known.rs from two threads at once: known NUMBER. Ends with 2 if there is no such case. */

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

bool known(int number, int thread);

static pthread_barrier_t begin;
static int number;

static void *run(void *thread)
{
    pthread_barrier_wait(&begin);
    return known(number, thread == NULL) ? NULL : &begin;
}

int main(int count, char **words)
{
    pthread_t thread;
    void *there;

    if (count != 2)
        return 2;
    number = atoi(words[1]);
    pthread_barrier_init(&begin, NULL, 2);
    if (pthread_create(&thread, NULL, run, &number))
        return 2;
    there = run(NULL);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&begin);
    return there ? 2 : 0;
}
