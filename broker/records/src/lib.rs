//! Record batch v2: view without copy, validation, building, compression, CRC.
