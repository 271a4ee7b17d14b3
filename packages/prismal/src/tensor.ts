/** prismal/tensor: the tensor engine alone. */
export * from '@prismal/tensor'
