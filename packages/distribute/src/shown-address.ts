/** An address as messages may name it: without what lets one in. */
export const shownAddress = (address: string): string => address.replace(/\/\/[^/@]*@/, '//')
