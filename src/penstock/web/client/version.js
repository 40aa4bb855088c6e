// The package's version. Tabs of one version share a worker; those of another have their own.

export const VERSION = '0.1.0';
