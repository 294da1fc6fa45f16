/* Binary search trees of nodes from malloc(3): built in a random order, walked, freed. */
#include "kernels.h"

#include <stdlib.h>

#define NODES 16384

struct node {
    struct node *left, *right;
    uint64_t key;
};

static void insert(struct node **link, uint64_t key)
{
    while (*link != NULL)
        link = key < (*link)->key ? &(*link)->left : &(*link)->right;
    struct node *node = malloc(sizeof *node);
    *node = (struct node){NULL, NULL, key};
    *link = node;
}

static uint64_t fold(const struct node *node, uint64_t sum)
{
    return node == NULL ? sum : fold(node->right, fold(node->left, sum) * 31 + node->key);
}

static void drop(struct node *node)
{
    if (node == NULL)
        return;
    drop(node->left);
    drop(node->right);
    free(node);
}

uint64_t tree_run(unsigned units)
{
    uint64_t state = 6, sum = 0;
    for (unsigned unit = 0; unit < units; unit++) {
        struct node *root = NULL;
        for (unsigned i = 0; i < NODES; i++)
            insert(&root, next_random(&state) >> 16);
        sum = fold(root, sum);
        drop(root);
    }
    return sum;
}
